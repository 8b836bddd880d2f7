"""Records of the grading boundary: what is asked of a completion, and what was found.

Example:
    >>> criterion = Criterion(text="says how sure it is", points=2.0)
    >>> verdict = Verdict(status=VerdictStatus.MET, explanation="it says so in the first clause")
    >>> Grade(completion_id="3.0.1", reward=1.0, verdicts=(verdict,), judge="judge-1a2b3c4d")
"""

from enum import StrEnum

import msgspec


class Criterion(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a rubric, answered literally: does the response do this, yes or no?"""

    text: str
    """What a response does, as a plain statement ("says how sure it is")."""
    points: float
    """Points when met; negative for a failing that a good response avoids. Never 0."""


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A verifier and what it compares with, for tasks whose truth a program knows."""

    kind: str
    """Name of a verifier in `grading.verifiers.VERIFIERS`, e.g. "exact"."""
    expected: str
    """The right answer, in the form that the verifier documents."""


class VerdictStatus(StrEnum):
    """What a judge found. UNGRADED is the absence of a finding and never becomes a number."""

    MET = "met"
    NOT_MET = "not_met"
    UNGRADED = "ungraded"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A judge's answer to one criterion."""

    status: VerdictStatus
    explanation: str = ""
    """The judge's reason; for UNGRADED, why there is no verdict ("timeout", "unparsable: ...")."""
    cached: bool = False
    """True when the answer came from the verdict cache and cost no judge tokens."""


class Grade(msgspec.Struct, frozen=True, kw_only=True):
    """The grade of one completion."""

    completion_id: str
    reward: float | None
    """Share of the rubric's positive points earned, in (-inf, 1], or a verifier's 0 or 1; None: ungraded."""
    verdicts: tuple[Verdict, ...] = ()
    """One for each criterion, in the rubric's order; empty for a verifier."""
    judge: str = ""
    """Name and revision of the judge, or "verifier:<kind>"."""
    reason: str = ""
    """Why `reward` is None; empty otherwise."""
    judge_tokens: int = 0
    """Prompt and completion tokens spent on this grade (0 for verifiers and cache hits)."""
