"""Fills one slot: generate, keep, grade, and try the slot's next prompt until one can be trained.

    slot n, attempt 0 -> fleet -> kept on disk -> graders -> varied rewards?  -> trained
                                                          -> all equal        -> filtered, attempt 1
                       -> failed or ungraded                                  -> failed,   attempt 1

Every attempt's end has a name in the ledger. A slot never changes its source, so the mix holds on what
is trained whatever happens here.
"""

from collections.abc import Callable
from typing import Protocol

import msgspec

from learner.advantages import has_signal
from rollout.config import RolloutConfig
from rollout.diagnosis import AttemptHealth, Diagnosis
from rollout.engine import DeadlineExceeded, EngineDied, Generator
from rollout.types import Completion, GeneratedText, GenerateRequest, GenerateResult, GradedGroup, RolloutGroup, Slot


class GroupGrader(Protocol):
    """Grades all completions of a group."""

    async def grade(self, group: RolloutGroup) -> GradedGroup:
        """One grade for each completion; ungraded ones have a reason, not a number."""
        ...


class SourceFailed(RuntimeError):
    """A slot could not be filled: the run cannot go on without breaking the mix."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """How one attempt ended, as the filler tells it to its listener."""

    slot: Slot
    graded: GradedGroup | None
    """None when nothing was generated."""
    reason: str
    """Why it failed or was filtered; "" when it will be trained."""
    filtered: bool = False
    """True: graded, but without reward variance."""
    without_signal: bool = False
    """True: trained although without reward variance, because the slot's attempts are used up."""


class SlotFiller:
    """Turns slots into graded groups that can be trained."""

    def __init__(
        self,
        draw: Callable[[int, int], Slot],
        generator: Generator,
        grader: GroupGrader,
        keep: Callable[[GradedGroup], None],
        listener: Callable[[Attempt], None],
        config: RolloutConfig,
        diagnosis: Diagnosis,
    ) -> None:
        """`draw(index, attempt)` gives a slot's prompt; `keep` writes rollouts to disk before any is dropped."""
        self._draw, self._generator, self._grader = draw, generator, grader
        self._keep, self._listener, self._config = keep, listener, config
        self._diagnosis = diagnosis

    async def fill(self, index: int) -> GradedGroup:
        """The graded group that slot `index` will be trained on.

        Raises:
            SourceFailed: the slot failed `max_failures` times; says how.
        """
        failures, filtered, number = 0, 0, 0
        while True:
            slot = self._draw(index, number)
            attempt = await self._attempt(slot, last_filter=filtered + 1 >= self._config.max_attempts)
            self._listener(attempt)
            if attempt.graded is not None and not attempt.reason:
                return attempt.graded
            filtered += attempt.filtered
            failures += not attempt.filtered
            if failures >= self._config.max_failures:
                raise SourceFailed(
                    f"slot {index} of source {slot.source!r} failed {failures} times; the last time: {attempt.reason}. "
                    "The run stops, because going on without this source would break the mix. "
                    "Mend the cause and resume: everything trained so far is kept."
                )
            number += 1

    async def _attempt(self, slot: Slot, last_filter: bool) -> Attempt:
        try:
            group = await self._generate(slot)
        except (DeadlineExceeded, EngineDied, ValueError) as error:
            return Attempt(slot=slot, graded=None, reason=f"{type(error).__name__}: {error}")
        graded = await self._grader.grade(group)
        self._keep(graded)
        rewards = tuple(grade.reward for grade in graded.grades)
        signal = has_signal(rewards)
        self._diagnosis.observe(slot.source, _health(graded, zero_variance=not signal))
        known = [reward for reward in rewards if reward is not None]
        if len(known) < 2:
            return Attempt(slot=slot, graded=graded, reason=f"ungraded: {_reasons(graded)}")
        if signal or last_filter:
            return Attempt(slot=slot, graded=graded, reason="", without_signal=not signal)
        return Attempt(slot=slot, graded=graded, reason="zero variance", filtered=True)

    async def _generate(self, slot: Slot) -> RolloutGroup:
        name = f"{slot.index}.{slot.attempt}"
        request = GenerateRequest(
            request_id=name,
            messages=slot.prompt.messages,
            sampling=self._config.sampling,
            deadline_s=self._config.request_timeout_s,
        )
        return _group(slot, name, await self._generator.generate(request))


def _group(slot: Slot, name: str, result: GenerateResult) -> RolloutGroup:
    return RolloutGroup(
        slot=slot,
        prompt_token_ids=result.prompt_token_ids,
        completions=tuple(_completion(f"{name}.{k}", output, result) for k, output in enumerate(result.outputs)),
        engine=result.engine,
    )


def _completion(completion_id: str, output: GeneratedText, result: GenerateResult) -> Completion:
    return Completion(
        completion_id=completion_id,
        text=output.text,
        token_ids=output.token_ids,
        logprobs=output.logprobs,
        finish_reason=output.finish_reason,
        min_policy_version=result.min_policy_version,
        max_policy_version=result.max_policy_version,
    )


def _health(graded: GradedGroup, zero_variance: bool) -> AttemptHealth:
    completions = graded.group.completions
    rewards = tuple(grade.reward for grade in graded.grades if grade.reward is not None)
    return AttemptHealth(
        rewards=rewards,
        truncated=sum(completion.finish_reason == "length" for completion in completions) / len(completions),
        ungraded=1 - len(rewards) / len(completions),
        zero_variance=zero_variance,
    )


def _reasons(graded: GradedGroup) -> str:
    reasons = sorted({grade.reason for grade in graded.grades if grade.reward is None})
    return "; ".join(reasons[:3])
