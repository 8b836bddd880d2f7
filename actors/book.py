"""The book of one run: ledger, compute, rollouts and figures, all told from one place.

Plain bookkeeping without Ray. The filler reports attempts, the controller reports trained steps; the
book writes what must survive (ledger, rollouts, metrics) before anything is dropped, and hands the
step's figures to whoever shows them.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from actors.config import Config
from actors.filler import Attempt
from actors.folder import RunFolder
from evaluation.compute import ComputeLedger
from learner.batch import train_samples
from learner.types import StepMetrics, TrainSample
from rollout.diagnosis import Diagnosis
from rollout.ledger import Ledger
from rollout.ledger_entry import LedgerEntry, Outcome, dispatched_entry, failed_entry, graded_entry
from rollout.sampler import MixSampler
from rollout.types import GradedGroup, RolloutGroup, Slot

Show = Callable[[dict[str, float]], None]
"""Takes a step's figures, by name."""


class RunBook:
    """Keeps the record of one run."""

    def __init__(
        self,
        *,
        config: Config,
        folder: RunFolder,
        ledger: Ledger,
        sampler: MixSampler,
        compute: ComputeLedger,
        show: Show,
        tell: Callable[[str], None],
        gauges: Callable[[], Mapping[str, float]],
    ) -> None:
        """`show` takes each step's figures, `tell` takes words, `gauges` gives the fleet's and judge's figures."""
        self._config, self._folder, self._ledger = config, folder, ledger
        self._sampler, self._compute = sampler, compute
        self.diagnosis = Diagnosis()
        self._show, self._tell, self._gauges = show, tell, gauges
        self._without_signal: set[int] = set()
        self._rewards: dict[str, list[float]] = {}
        self._num_generated_tokens = 0
        self._started = time.monotonic() - compute.wall_seconds

    def draw(self, index: int, attempt: int) -> Slot:
        """The prompt of a slot's attempt, entered as dispatched."""
        slot = self._sampler.slot(index, attempt)
        self._ledger.append(dispatched_entry(slot))
        return slot

    def keep(self, graded: GradedGroup) -> None:
        """Keep a rollout on disk, and count what it cost, before anything is decided about it."""
        group = graded.group
        self._folder.append_rollout(group.slot.index // self._config.groups_per_step + 1, graded)
        self._num_generated_tokens += group.num_completion_tokens
        self._compute.generated_tokens += group.num_completion_tokens
        self._compute.prompt_tokens += len(group.prompt_token_ids)
        self._compute.judge_tokens += sum(grade.judge_tokens for grade in graded.grades)
        self._compute.judge_calls += sum(_num_calls(grade.verdicts) for grade in graded.grades)
        rewards = [grade.reward for grade in graded.grades if grade.reward is not None]
        if rewards and group.slot.attempt == 0:
            # First attempts only: refills are drawn because others were filtered, and would bias the curve.
            self._rewards.setdefault(group.slot.source, []).append(sum(rewards) / len(rewards))

    def attempted(self, attempt: Attempt) -> None:
        """Enter how an attempt ended; one that will be trained is entered when it is."""
        if attempt.without_signal:
            self._without_signal.add(attempt.slot.index)
        if attempt.reason:
            entry = _ended(attempt)
            self._ledger.append(entry)
            self._sampler.observe(entry)

    def samples(self, groups: Sequence[GradedGroup], step: int) -> list[TrainSample]:
        """Turn the groups of optimizer step `step` (from 0) into train samples with advantages."""
        return train_samples(
            groups,
            self._config.learner.estimator,
            policy_version=step,
            max_policy_lag=self._config.max_policy_lag,
        )

    def trained(self, groups: Sequence[GradedGroup], metrics: StepMetrics, seconds: dict[str, float]) -> None:
        """Enter a trained step: ledger, mix, compute, figures."""
        for graded in groups:
            entry = graded_entry(graded, self._outcome(graded.group), step=metrics.step)
            self._ledger.append(entry)
            self._sampler.observe(entry)
            self._compute.trained_tokens += entry.num_trained_tokens
        self._sampler.check_mix()
        self._compute.trained_groups += len(groups)
        self._compute.optimizer_steps = metrics.step
        self._compute.wall_seconds = time.monotonic() - self._started
        figures = self._figures(groups, metrics, seconds)
        self._folder.append_metrics(metrics.step, figures)
        self._show(figures | {"step": float(metrics.step)})
        for sentence in self.diagnosis.words():
            self._tell(sentence)

    def note(self, text: str) -> None:
        """Tell the user something in words."""
        self._tell(text)

    def client_state(self) -> dict[str, Any]:
        """What a resume needs of the book, as JSON types."""
        self._ledger.sync()
        return {"sampler": self._sampler.state_dict(), "compute": msgspec.to_builtins(self._compute)}

    def finish(self) -> None:
        """Audit the ledger and write the compute ledger at the end of a run.

        Raises:
            LedgerError: the ledger does not add up.
        """
        self._ledger.audit(self._compute.optimizer_steps)
        self._compute.save(self._folder.path / "compute.json")

    def _outcome(self, group: RolloutGroup) -> Outcome:
        if group.slot.index in self._without_signal:
            self._without_signal.discard(group.slot.index)
            return Outcome.TRAINED_WITHOUT_SIGNAL
        return Outcome.TRAINED

    def _figures(
        self, groups: Sequence[GradedGroup], metrics: StepMetrics, seconds: dict[str, float]
    ) -> dict[str, float]:
        figures = {name: float(value) for name, value in msgspec.structs.asdict(metrics).items() if _is_number(value)}
        del figures["step"], figures["seconds"]
        figures |= {f"gradient_share/{source}": share for source, share in metrics.gradient_share.items()}
        figures |= {f"seconds/{phase.replace(' ', '_')}": value for phase, value in seconds.items()}
        figures |= {f"reward/{source}": sum(means) / len(means) for source, means in self._rewards.items()}
        figures |= self.diagnosis.metrics() | self._sampler.metrics() | dict(self._gauges())
        oldest = min(completion.min_policy_version for graded in groups for completion in graded.group.completions)
        figures["policy_lag"] = float(metrics.step - 1 - oldest)
        figures["tokens_per_s"] = self._num_generated_tokens / seconds["step"]
        self._rewards, self._num_generated_tokens = {}, 0
        return figures


def _ended(attempt: Attempt) -> LedgerEntry:
    if attempt.filtered and attempt.graded is not None:
        return graded_entry(attempt.graded, Outcome.FILTERED, reason=attempt.reason)
    if attempt.graded is not None:
        return graded_entry(attempt.graded, Outcome.FAILED, reason=attempt.reason)
    return failed_entry(attempt.slot, attempt.reason)


def _num_calls(verdicts: Sequence[Any]) -> int:
    return sum(not verdict.cached for verdict in verdicts)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
