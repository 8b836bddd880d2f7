"""The records of the ledger: what became of one attempt of one slot, made from what is known of it."""

import statistics
from enum import StrEnum

import msgspec

from rollout.types import GradedGroup, RolloutGroup, Slot


class Outcome(StrEnum):
    """What became of an attempt."""

    DISPATCHED = "dispatched"
    """Under way: not an end, and an audit asks for one."""
    TRAINED = "trained"
    TRAINED_WITHOUT_SIGNAL = "trained_without_signal"
    """Trained although all rewards are the same, since the slot's attempts were used up: no gradient."""
    FILTERED = "filtered"
    """All rewards are the same: the slot's next attempt follows."""
    FAILED = "failed"
    """No group, or no grade in it, for the reason given: the slot's next attempt follows."""

    @property
    def is_trained(self) -> bool:
        """Whether the attempt fills its slot."""
        return self in (Outcome.TRAINED, Outcome.TRAINED_WITHOUT_SIGNAL)

    @property
    def is_final(self) -> bool:
        """Whether the attempt has ended."""
        return self is not Outcome.DISPATCHED

    @property
    def needs_refill(self) -> bool:
        """Whether the slot's next attempt must follow."""
        return self in (Outcome.FILTERED, Outcome.FAILED)


class LedgerEntry(msgspec.Struct, frozen=True, kw_only=True, tag_field="line", tag="attempt"):
    """One line about one attempt."""

    slot: int
    attempt: int
    prompt_id: str
    source: str
    trait: str = ""
    domain: str = ""
    outcome: Outcome
    reason: str = ""
    """Why the attempt failed or was filtered; empty otherwise."""
    step: int | None = None
    """The optimizer step that trained it, from 1 (the policy version it produced); None: not trained."""
    engine: str = ""
    min_policy_version: int | None = None
    max_policy_version: int | None = None
    num_completions: int = 0
    num_generated_tokens: int = 0
    """Tokens that the policy wrote."""
    num_trained_tokens: int = 0
    """Prompt and completion tokens of the graded completions; 0 unless trained."""
    num_judge_tokens: int = 0
    reward_mean: float | None = None
    """Over graded completions; None when there are none."""
    reward_std: float | None = None
    """Of the population of graded completions."""
    num_truncated: int = 0
    """Completions that ran into `max_tokens`."""
    num_ungraded: int = 0
    zero_variance: bool = False
    """All graded completions got the same reward."""


class Superseded(msgspec.Struct, frozen=True, kw_only=True, tag_field="line", tag="superseded"):
    """A resume: what is written above this line about `first_slot` and later slots no longer counts."""

    first_slot: int
    trained_steps: int
    """Optimizer steps of the checkpoint that was resumed from."""
    num_attempts: int
    """Attempts that counted until now."""
    torn: bool = False
    """Whether the line above was cut off when the last run was killed."""


def dispatched_entry(slot: Slot) -> LedgerEntry:
    """Return the entry of an attempt that is sent on its way."""
    return _entry(slot, Outcome.DISPATCHED)


def failed_entry(slot: Slot, reason: str) -> LedgerEntry:
    """Return the entry of an attempt that failed before it had grades."""
    return _entry(slot, Outcome.FAILED, reason)


def graded_entry(graded: GradedGroup, outcome: Outcome, step: int | None = None, reason: str = "") -> LedgerEntry:
    """Return the entry of a graded attempt, with everything that its group and grades say.

    Args:
        graded: the group and its grades.
        outcome: any final outcome.
        step: the optimizer step that trained it, from 1; only for trained outcomes.
        reason: why it was filtered or failed.

    Raises:
        ValueError: a trained outcome without a step, or a step without a trained outcome.
    """
    if outcome.is_trained != (step is not None):
        raise ValueError(f"outcome {outcome} with step {step}: give the step of trained attempts, and of no others")
    group, rewards = graded.group, [grade.reward for grade in graded.grades if grade.reward is not None]
    return msgspec.structs.replace(
        _with_group(_entry(group.slot, outcome, reason), group),
        step=step,
        num_trained_tokens=_trained_tokens(graded) if outcome.is_trained else 0,
        num_judge_tokens=sum(grade.judge_tokens for grade in graded.grades),
        reward_mean=statistics.fmean(rewards) if rewards else None,
        reward_std=statistics.pstdev(rewards) if rewards else None,
        num_ungraded=len(graded.grades) - len(rewards),
        zero_variance=len(set(rewards)) == 1,
    )


def _entry(slot: Slot, outcome: Outcome, reason: str = "") -> LedgerEntry:
    prompt = slot.prompt
    return LedgerEntry(
        slot=slot.index,
        attempt=slot.attempt,
        prompt_id=prompt.prompt_id,
        source=slot.source,
        trait=prompt.trait,
        domain=prompt.domain,
        outcome=outcome,
        reason=reason,
    )


def _with_group(entry: LedgerEntry, group: RolloutGroup) -> LedgerEntry:
    return msgspec.structs.replace(
        entry,
        engine=group.engine,
        min_policy_version=min(completion.min_policy_version for completion in group.completions),
        max_policy_version=max(completion.max_policy_version for completion in group.completions),
        num_completions=len(group.completions),
        num_generated_tokens=group.num_completion_tokens,
        num_truncated=sum(completion.finish_reason == "length" for completion in group.completions),
    )


def _trained_tokens(graded: GradedGroup) -> int:
    """Tokens of the completions that reach the loss: ungraded ones don't."""
    num_prompt = len(graded.group.prompt_token_ids)
    pairs = zip(graded.group.completions, graded.grades, strict=True)
    return sum(num_prompt + len(completion.token_ids) for completion, grade in pairs if grade.reward is not None)
