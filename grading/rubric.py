"""The score of a rubric, after HealthBench (arXiv:2505.08775, section 3)."""

import math
from collections.abc import Sequence

from grading.types import Criterion, Verdict, VerdictStatus


def rubric_score(criteria: Sequence[Criterion], verdicts: Sequence[Verdict]) -> float | None:
    """Points of the met criteria, as a share of the rubric's positive points.

    One response's score is not clipped: it is at most 1, and below 0 where failings outweigh the rest.
    With any criterion ungraded there is no score (None): counting it as not met would lower the score
    for a strength and raise it for a failing.

    Raises:
        ValueError: not one verdict for each criterion, or no criterion with positive points.
    """
    if len(criteria) != len(verdicts):
        raise ValueError(f"{len(criteria)} criteria but {len(verdicts)} verdicts; give one verdict for each criterion")
    available = math.fsum(criterion.points for criterion in criteria if criterion.points > 0)
    if available <= 0:
        raise ValueError("the rubric has no criterion with positive points, so a share of them is undefined")
    if any(verdict.status is VerdictStatus.UNGRADED for verdict in verdicts):
        return None
    pairs = zip(criteria, verdicts, strict=True)
    return (
        math.fsum(criterion.points for criterion, verdict in pairs if verdict.status is VerdictStatus.MET) / available
    )
