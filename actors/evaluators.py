"""Evaluator actors take each checkpoint as it appears; training never waits for them.

The pool consumes checkpoints from a queue, one worker task for each evaluator actor. A worker loads
the checkpoint into its actor's engine, checks that the engine holds it, runs the suite evaluation by
evaluation, and stores each result. A checkpoint that cannot be evaluated is recorded and the next one
is taken. `drain` waits for everything submitted; nothing is lost at the end of a run.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import msgspec

from evaluation.types import EvaluationResult
from rollout.weight_sync import largest_difference


class EvaluationJob(msgspec.Struct, frozen=True, kw_only=True):
    """One checkpoint to evaluate."""

    run: str
    arm: str
    seed: int
    step: int
    weights: str
    """Folder of the checkpoint's weights."""
    content_hash: str
    """Hash of its weights: what a result is a result of."""
    probe_token_ids: tuple[int, ...]
    probe_logprobs: tuple[float, ...]
    """The learner's log-probabilities (nats) of the probe's tokens, to check what the engine holds."""


class JudgeAddress(msgspec.Struct, frozen=True, kw_only=True):
    """Where an evaluator finds the judge, and how it names it."""

    name: str
    """Name and revision of the judge, as results carry it."""
    engines: tuple[str, ...]
    """Actor names of the grader engines."""
    namespace: str
    parity_tolerance: float
    """Largest allowed |log-probability difference| (nats) on a checkpoint's probe."""


class CheckpointNotHeld(RuntimeError):
    """The evaluator's engine does not hold the checkpoint that it was told to load."""


def check_held(job: EvaluationJob, logprobs: Sequence[float], tolerance: float) -> None:
    """Compare an engine's log-probabilities on the probe with those of the learner that wrote the checkpoint.

    Raises:
        CheckpointNotHeld: they differ by more than `tolerance` nats, or in number, or one is not a number.
    """
    difference = largest_difference(job.probe_logprobs, logprobs)
    if difference > tolerance:
        raise CheckpointNotHeld(
            f"step {job.step} of {job.run}: log-probabilities on the probe differ by {difference:.3f} nats "
            f"(allowed: {tolerance:g}); its evaluation would not be of the checkpoint that it names"
        )


class Evaluator(Protocol):
    """One evaluator actor, as the pool sees it."""

    name: str

    async def load(self, job: EvaluationJob) -> None:
        """Load and verify the job's checkpoint."""
        ...

    async def run(self, job: EvaluationJob, evaluation: str) -> EvaluationResult:
        """Run one evaluation on the loaded checkpoint."""
        ...

    async def replace(self, cause: str) -> None:
        """Start a new actor in place of one that died."""
        ...


class EvaluationListener(Protocol):
    """Who is told of evaluations."""

    def arrived(self, result: EvaluationResult) -> None:
        """One evaluation of a checkpoint is done."""
        ...

    def completed(self, results: Sequence[EvaluationResult]) -> None:
        """All evaluations of a checkpoint are done."""
        ...

    def failed(self, job: EvaluationJob, reason: str) -> None:
        """A checkpoint could not be evaluated; it may be tried again."""
        ...


class EvaluatorPool:
    """Evaluators and the queue between them and the controller."""

    def __init__(
        self,
        evaluators: Sequence[Evaluator],
        evaluations: Sequence[str],
        listener: EvaluationListener,
        max_tries: int = 2,
    ) -> None:
        """`evaluations` are the names of those to run."""
        self._evaluators, self._names = evaluators, tuple(evaluations)
        self._listener, self._max_tries = listener, max_tries
        self._queue: asyncio.Queue[EvaluationJob] = asyncio.Queue()
        self._known: dict[tuple[str, str], EvaluationResult] = {}
        self._workers: list[asyncio.Task[None]] = []
        self._num_open = 0

    def start(self) -> None:
        """Start one worker for each evaluator; needs a running event loop."""
        self._workers = [asyncio.create_task(self._work(each), name=each.name) for each in self._evaluators]

    def submit(self, job: EvaluationJob) -> None:
        """Queue a checkpoint; returns at once."""
        if self._evaluators:
            self._num_open += 1
            self._queue.put_nowait(job)

    def remember(self, results: Sequence[EvaluationResult]) -> None:
        """Make results of an earlier process known, so that they are not computed again."""
        for result in results:
            self._known[result.checkpoint, result.evaluation] = result

    @property
    def num_open(self) -> int:
        """Checkpoints that wait for an evaluator or are being evaluated."""
        return self._num_open

    async def drain(self, timeout_s: float) -> None:
        """Wait until everything submitted is evaluated or recorded as failed.

        Raises:
            TimeoutError: naming how many checkpoints are still open.
            Exception: whatever ended a worker.
        """
        joined = asyncio.create_task(self._queue.join())
        waiting: set[asyncio.Task[None]] = {joined, *self._workers}
        try:
            done, _ = await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            joined.cancel()
        for worker in done - {joined}:
            worker.result()
        if joined not in done:
            raise TimeoutError(f"evaluation did not drain within {timeout_s:g} s: {self.num_open} checkpoints are open")

    async def stop(self) -> None:
        """Cancel the workers."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _work(self, evaluator: Evaluator) -> None:
        cause = ""
        while True:
            job = await self._queue.get()
            try:
                cause = await self._evaluate(evaluator, job, cause)
            finally:
                self._num_open -= 1
                self._queue.task_done()

    async def _evaluate(self, evaluator: Evaluator, job: EvaluationJob, cause: str) -> str:
        """Evaluate one checkpoint; why the evaluator's last try failed, or "".

        `cause` is why its last try before this failed: it is replaced before it is used again.
        """
        for attempt in range(1, self._max_tries + 1):
            try:
                if cause:
                    await evaluator.replace(cause)
                await self._run_suite(evaluator, job)
                return ""
            except Exception as error:
                # Any failure of an evaluation is recorded by name; training and the next checkpoint go on.
                cause = f"{type(error).__name__}: {error}"
                self._listener.failed(job, f"try {attempt} of {self._max_tries}: {cause}")
        return cause

    async def _run_suite(self, evaluator: Evaluator, job: EvaluationJob) -> None:
        if any((job.content_hash, name) not in self._known for name in self._names):
            await evaluator.load(job)
        results = [await self._result(evaluator, job, name) for name in self._names]
        self._listener.completed(results)

    async def _result(self, evaluator: Evaluator, job: EvaluationJob, name: str) -> EvaluationResult:
        known = self._known.get((job.content_hash, name))
        result = _as_job(known, job) if known else await evaluator.run(job, name)
        self._known[job.content_hash, name] = result
        self._listener.arrived(result)
        return result


def _as_job(result: EvaluationResult, job: EvaluationJob) -> EvaluationResult:
    """The same weights under another run's name: equal content hashes have equal results."""
    return msgspec.structs.replace(result, run=job.run, arm=job.arm, seed=job.seed, step=job.step)
