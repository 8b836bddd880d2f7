"""Evaluator actors take each checkpoint as it appears; training never waits for them.

The pool consumes checkpoints from a queue, one worker task for each evaluator actor. A worker loads
the checkpoint into its actor's engine, checks that the engine holds it, runs the suite evaluation by
evaluation, and stores each result. A checkpoint that cannot be evaluated is recorded and the next one
is taken. `drain` waits for everything submitted; nothing is lost at the end of a run.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from evaluation.types import EvaluationResult


class EvaluationJob(msgspec.Struct, frozen=True, kw_only=True):
    """One checkpoint to evaluate."""

    run: str
    arm: str
    seed: int
    step: int
    path: str
    """The checkpoint's folder."""
    content_hash: str
    """Hash of its weights: what a result is a result of."""
    probe_token_ids: tuple[int, ...]
    probe_logprobs: tuple[float, ...]
    """The learner's log-probabilities (nats) of the probe's tokens, to check what the engine holds."""


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


class EvaluatorPool:
    """Evaluators and the queue between them and the controller."""

    def __init__(
        self,
        evaluators: Sequence[Evaluator],
        evaluations: Sequence[str],
        on_result: Callable[[EvaluationResult], None],
        on_failure: Callable[[EvaluationJob, str], None],
        max_tries: int = 2,
    ) -> None:
        """`on_result` stores a result; `on_failure` records why a checkpoint has none."""
        self._evaluators, self._names = evaluators, tuple(evaluations)
        self._on_result, self._on_failure, self._max_tries = on_result, on_failure, max_tries
        self._queue: asyncio.Queue[EvaluationJob] = asyncio.Queue()
        self._known: dict[tuple[str, str], EvaluationResult] = {}
        self._workers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start one worker for each evaluator; needs a running event loop."""
        self._workers = [asyncio.create_task(self._work(each), name=each.name) for each in self._evaluators]

    def submit(self, job: EvaluationJob) -> None:
        """Queue a checkpoint; returns at once."""
        if self._evaluators:
            self._queue.put_nowait(job)

    def remember(self, results: Sequence[EvaluationResult]) -> None:
        """Make results of an earlier process known, so that they are not computed again."""
        for result in results:
            self._known[result.checkpoint, result.evaluation] = result

    @property
    def num_waiting(self) -> int:
        """Checkpoints that wait for an evaluator."""
        return self._queue.qsize()

    async def drain(self, timeout_s: float) -> None:
        """Wait until everything submitted is evaluated or recorded as failed.

        Raises:
            TimeoutError: naming how many checkpoints are still open.
            Exception: whatever ended a worker.
        """
        joined = asyncio.create_task(self._queue.join())
        waiting: set[asyncio.Task[None]] = {joined, *self._workers}
        done, _ = await asyncio.wait(waiting, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for worker in done - {joined}:
            worker.result()
        if joined not in done:
            joined.cancel()
            raise TimeoutError(f"evaluation did not drain within {timeout_s:g} s: {self.num_waiting} checkpoints wait")

    async def stop(self) -> None:
        """Cancel the workers."""
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _work(self, evaluator: Evaluator) -> None:
        while True:
            job = await self._queue.get()
            try:
                await self._evaluate(evaluator, job)
            finally:
                self._queue.task_done()

    async def _evaluate(self, evaluator: Evaluator, job: EvaluationJob) -> None:
        for attempt in range(1, self._max_tries + 1):
            try:
                return await self._run_suite(evaluator, job)
            except Exception as error:
                # Any failure of an evaluation is recorded by name; training and the next checkpoint go on.
                self._on_failure(job, f"try {attempt} of {self._max_tries}: {type(error).__name__}: {error}")
                if attempt < self._max_tries:
                    await evaluator.replace(str(error))
        return None

    async def _run_suite(self, evaluator: Evaluator, job: EvaluationJob) -> None:
        missing = [name for name in self._names if (job.content_hash, name) not in self._known]
        for name in self._names:
            if name not in missing:
                self._on_result(_as_job(self._known[job.content_hash, name], job))
        if not missing:
            return
        await evaluator.load(job)
        for name in missing:
            result = await evaluator.run(job, name)
            self._known[job.content_hash, name] = result
            self._on_result(result)


def _as_job(result: EvaluationResult, job: EvaluationJob) -> EvaluationResult:
    """The same weights under another run's name: equal content hashes have equal results."""
    return msgspec.structs.replace(result, run=job.run, arm=job.arm, seed=job.seed, step=job.step)
