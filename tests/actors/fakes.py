"""Fakes of everything that a run talks to, driven by the event loop alone: no time passes, nothing is started."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from actors.evaluators import EvaluationJob
from evaluation.types import EvaluationResult, Role
from grading.types import Grade
from learner.types import StepMetrics, TrainSample
from rollout.engine import EngineDied
from rollout.types import (
    Completion,
    GeneratedText,
    GenerateRequest,
    GenerateResult,
    GradedGroup,
    RolloutGroup,
    Slot,
)
from rollout.weight_sync import TransferGroup, TransferManifest
from tests.rollout.worlds import standard_prompts

PROMPTS = standard_prompts(4)


def run(test: Callable[[], Awaitable[Any]], limit_s: float = 10.0) -> Any:
    """Run a test to its end. A hang is a failure, and so is a task that is left behind."""

    async def guarded() -> Any:
        async with asyncio.timeout(limit_s):
            result = await test()
        left = [task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}]
        assert not left, f"left running: {left}"
        return result

    return asyncio.run(guarded())


async def ticks(count: int) -> None:
    """Let everyone else go on for a few turns of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], limit: int = 10_000) -> None:
    """Wait for something to come true within a bounded number of turns."""
    for _ in range(limit):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came true")


def slot(index: int = 0, attempt: int = 0, source: str = "standard") -> Slot:
    return Slot(index=index, source=source, attempt=attempt, prompt=PROMPTS[attempt % len(PROMPTS)])


def group(index: int, version: int, rewards: tuple[float | None, ...] = (1.0, 0.0)) -> GradedGroup:
    """A graded group whose tokens are all of one version."""
    completions = tuple(
        Completion(
            completion_id=f"{index}.0.{n}",
            text="text",
            token_ids=(1, 2),
            logprobs=(-0.5, -0.5),
            finish_reason="stop",
            min_policy_version=version,
            max_policy_version=version,
        )
        for n in range(len(rewards))
    )
    grades = tuple(
        Grade(completion_id=completion.completion_id, reward=reward)
        for completion, reward in zip(completions, rewards, strict=True)
    )
    rollout = RolloutGroup(slot=slot(index), prompt_token_ids=(1, 2, 3), completions=completions, engine="engine-0")
    return GradedGroup(group=rollout, grades=grades)


def oldest(graded: GradedGroup) -> int:
    return min(completion.min_policy_version for completion in graded.group.completions)


def step_metrics(step: int) -> StepMetrics:
    return StepMetrics(
        step=step,
        loss=0.5,
        grad_norm=1.0,
        learning_rate=1e-3,
        clip_share=0.0,
        entropy=1.0,
        mismatch_kl=0.0,
        mismatch_max=0.0,
        reference_kl=0.0,
        num_tokens=10,
        num_samples=2,
        gradient_share={"standard": 1.0},
        seconds=0.1,
    )


class FakeGenerator:
    """Answers after a few turns of the loop, of whatever version `version()` gives at the start and at the end."""

    def __init__(self, version: Callable[[], int] = lambda: 0, seed: int = 0, most_ticks: int = 5) -> None:
        self._version, self._random, self._most_ticks = version, random.Random(seed), most_ticks
        self.requests: list[GenerateRequest] = []
        self.fail: Callable[[GenerateRequest], Exception | None] = lambda request: None
        self.finish_reason = "stop"

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        self.requests.append(request)
        first = self._version()
        await ticks(self._random.randint(0, self._most_ticks))
        if error := self.fail(request):
            raise error
        outputs = tuple(self._output(n) for n in range(request.sampling.num_samples))
        return GenerateResult(
            prompt_token_ids=(1, 2, 3),
            outputs=outputs,
            min_policy_version=first,
            max_policy_version=self._version(),
            engine="engine-0",
        )

    def _output(self, number: int) -> GeneratedText:
        """The n-th output has n + 1 tokens."""
        return GeneratedText(
            text=f"text {number}",
            token_ids=tuple(range(number + 1)),
            logprobs=(-0.5,) * (number + 1),
            finish_reason=self.finish_reason,
        )


class FakeGrader:
    """Gives the rewards that `rewards(slot)` says; 7 judge tokens a grade."""

    def __init__(self, rewards: Callable[[Slot], tuple[float | None, ...]]) -> None:
        self._rewards = rewards

    async def grade(self, group: RolloutGroup) -> GradedGroup:
        await ticks(1)
        rewards = self._rewards(group.slot)
        grades = tuple(
            Grade(
                completion_id=completion.completion_id,
                reward=reward,
                reason="" if reward is not None else "unparsable: blah",
                judge_tokens=7,
            )
            for completion, reward in zip(group.completions, rewards, strict=True)
        )
        return GradedGroup(group=group, grades=grades)


class FakeLearner:
    """The learner of a controller and the sender of a sync; its one weight is its version."""

    def __init__(self, version: int = 0, most_ticks: int = 0, seed: int = 0) -> None:
        self.version = version
        self._most_ticks, self._random = most_ticks, random.Random(seed)
        self.training = False
        self.fail_at_step: int | None = None
        self.engines: list[FakeEngine] = []

    async def train_step(self, samples: list[TrainSample], step: int) -> StepMetrics:
        assert step == self.version, "steps are trained once each and in order"
        self.training = True
        await ticks(self._random.randint(0, self._most_ticks))
        self.training = False
        if step == self.fail_at_step:
            raise Killed(f"at step {step}")
        self.version += 1
        return step_metrics(self.version)

    async def rendezvous(self) -> tuple[str, int]:
        return "here", 1

    async def manifest(self) -> TransferManifest:
        return TransferManifest(names=("w",), dtype_names=("float32",), shapes=((1,),))

    async def connect(self, group: TransferGroup) -> None:
        await ticks(1)

    async def send(self, version: int) -> int:
        assert not self.training, "weights were sent in the middle of a step"
        assert version == self.version, "an engine was sent another version than it was told"
        await ticks(1)
        return version

    async def logprobs(self, token_ids: Sequence[int]) -> list[float]:
        return [-float(self.version)] * (len(token_ids) - 1)


class FakeEngine:
    """An engine actor: can be dead, refuse to start, or hold weights that it should not."""

    def __init__(self, name: str, number: int = 0) -> None:
        self.name, self.number = name, number
        self.weights = 0
        self.fail_start: Exception | None = None
        self.fail_receive: Exception | None = None
        self.dead = False
        self.log: list[str] = []

    async def _live(self, call: str) -> None:
        self.log.append(call)
        await ticks(1)
        if self.dead:
            raise EngineDied(self.name, f"found dead by {call}")

    async def start(self, deadline_s: float) -> None:
        await self._live("start")
        if self.fail_start is not None:
            raise self.fail_start

    async def stop(self) -> None:
        self.log.append("stop")

    async def health(self) -> None:
        await self._live("health")

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        await self._live("generate")
        return GenerateResult(
            prompt_token_ids=(1,),
            outputs=(),
            min_policy_version=self.weights,
            max_policy_version=self.weights,
            engine=f"{self.name}#{self.number}",
        )

    async def pause(self) -> None:
        await self._live("pause")

    async def connect(self, group: TransferGroup) -> None:
        await self._live("connect")

    async def receive(self, manifest: TransferManifest, version: int) -> int:
        await self._live("receive")
        if self.fail_receive is not None:
            raise self.fail_receive
        self.weights = version
        return version

    async def resume(self) -> None:
        await self._live("resume")

    async def score(self, token_ids: Sequence[int]) -> list[float]:
        await self._live("score")
        return [-float(self.weights)] * (len(token_ids) - 1)


class Spawner:
    """Makes engines, and remembers all that it made by name."""

    def __init__(self) -> None:
        self.made: dict[str, list[FakeEngine]] = {}
        self.prepare: Callable[[FakeEngine], None] = lambda engine: None

    def __call__(self, name: str) -> FakeEngine:
        engine = FakeEngine(name, number=len(self.made.get(name, [])))
        self.made.setdefault(name, []).append(engine)
        self.prepare(engine)
        return engine


def job(step: int, run_name: str = "run", content_hash: str = "") -> EvaluationJob:
    return EvaluationJob(
        run=run_name,
        arm="arm",
        seed=0,
        step=step,
        weights=f"/weights/{step}",
        content_hash=content_hash or f"hash-{step}",
        probe_token_ids=(1, 2, 3),
        probe_logprobs=(-1.0, -2.0),
    )


def result(of: EvaluationJob, evaluation: str) -> EvaluationResult:
    """A result whose score names the checkpoint that it is of: its step / 100."""
    return EvaluationResult(
        run=of.run,
        arm=of.arm,
        seed=of.seed,
        checkpoint=of.content_hash,
        step=of.step,
        evaluation=evaluation,
        family="family",
        role=Role.CAPABILITY,
        score=of.step / 100,
        stderr=None,
        num_samples=1,
        num_ungraded=0,
        judge="judge",
    )


class FakeEvaluator:
    """Evaluates what it has loaded; `fail(job, call)` may give an error, `hang` a gate that stays shut."""

    def __init__(self, name: str = "evaluator-0") -> None:
        self.name = name
        self.loaded: EvaluationJob | None = None
        self.ran: list[tuple[str, int, str]] = []
        self.replaced: list[str] = []
        self.fail: Callable[[EvaluationJob, str], Exception | None] = lambda job, call: None
        self.fail_replace: list[Exception] = []
        self.hang = asyncio.Event()
        self.hang.set()
        self.broken = False

    async def load(self, job: EvaluationJob) -> None:
        await self._step(job, "load")
        self.loaded = job

    async def run(self, job: EvaluationJob, evaluation: str) -> EvaluationResult:
        await self._step(job, evaluation)
        assert self.loaded is not None
        assert self.loaded.content_hash == job.content_hash, "it scores another checkpoint than it names"
        self.ran.append((job.run, job.step, evaluation))
        return result(self.loaded, evaluation)

    async def replace(self, cause: str) -> None:
        self.replaced.append(cause)
        await ticks(1)
        if self.fail_replace:
            raise self.fail_replace.pop(0)
        self.broken, self.loaded = False, None

    async def _step(self, job: EvaluationJob, call: str) -> None:
        await ticks(1)
        await self.hang.wait()
        if self.broken:
            raise RuntimeError(f"{self.name} is dead")
        if error := self.fail(job, call):
            self.broken = True
            raise error


class Listener:
    """Remembers what it was told of evaluations."""

    def __init__(self) -> None:
        self.results: list[EvaluationResult] = []
        self.suites: list[tuple[str, int, tuple[str, ...]]] = []
        self.failures: list[tuple[int, str]] = []

    def arrived(self, result: EvaluationResult) -> None:
        self.results.append(result)

    def completed(self, results: Sequence[EvaluationResult]) -> None:
        self.suites.append((results[0].run, results[0].step, tuple(result.evaluation for result in results)))

    def failed(self, job: EvaluationJob, reason: str) -> None:
        self.failures.append((job.step, reason))


class Killed(Exception):
    """Stands for the death of the process."""


@contextlib.asynccontextmanager
async def background(work: Awaitable[Any]):
    """Run something beside the block, and cancel it afterwards; its own failure fails the test."""
    task = asyncio.ensure_future(work)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
