"""Records of the evaluation boundary: what is measured, and what came out."""

from enum import StrEnum

import msgspec

from rollout.types import Prompt


class Role(StrEnum):
    """What an evaluation is for in the analysis."""

    HELD_OUT_TRAIT = "held_out_trait"
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    CAPABILITY = "capability"
    STANDARD = "standard"
    REFUSAL = "refusal"


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """A named set of items. Scores are stored so that higher is always better."""

    name: str
    family: str
    """What it probes: misalignment, deception, reward hacking, sycophancy, health, capability, ..."""
    role: Role
    description: str
    """One sentence: what it measures, and what a score of 1 means."""
    items: tuple[Prompt, ...]
    num_samples: int = 1
    """Completions for each item; standard errors are clustered on the item."""
    max_tokens: int = 64


class SampleScore(msgspec.Struct, frozen=True, kw_only=True):
    """One graded completion of one item."""

    item_id: str
    text: str
    score: float | None
    """The grader's reward as it is: at most 1, below 0 only by negative points of a rubric; None: ungraded."""
    reason: str = ""
    is_refusal: bool = False


class EvaluationResult(msgspec.Struct, frozen=True, kw_only=True):
    """One evaluation of one checkpoint: one row of results.csv, with its samples kept beside it."""

    run: str
    arm: str
    seed: int
    checkpoint: str
    """Content hash of the checkpoint's weights."""
    step: int
    evaluation: str
    family: str
    role: Role
    score: float | None
    """Mean over graded samples, clipped to [0, 1]; None when nothing could be graded."""
    stderr: float | None
    """Clustered on the item; None under two items."""
    num_samples: int
    """Graded samples."""
    num_ungraded: int
    judge: str
    samples: tuple[SampleScore, ...] = ()
