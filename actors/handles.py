"""Remote actors behind the protocols that the rest of the system knows: engines and the learner."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import ray

from actors.evaluators import EvaluationJob
from actors.supervision import ActorDied, call, kill
from actors.turns import Turn
from evaluation.config import EvaluationConfig
from evaluation.types import EvaluationResult
from learner.checkpoint import Manifest
from learner.types import StepMetrics, TrainSample
from rollout.engine import DeadlineExceeded, EngineDied
from rollout.types import GenerateRequest, GenerateResult
from rollout.weight_sync import SenderLost, TransferGroup, TransferManifest

GRACE_S = 10.0
"""Seconds that a remote call may outlast the deadline that the actor itself keeps."""


class RemoteEngine:
    """An engine actor: generates for the fleet and receives weights from the sync."""

    def __init__(self, name: str, handle: Any, timeout_s: float) -> None:
        """`timeout_s` bounds every call that has no deadline of its own, seconds."""
        self.name, self.handle, self._timeout_s = name, handle, timeout_s

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        """Sample continuations; see `rollout.engine.Generator`."""
        return await self._call(
            "generate", request, deadline_s=request.deadline_s + GRACE_S, what=f"request {request.request_id}"
        )

    async def start(self, deadline_s: float) -> None:
        """Load the model."""
        await self._call("start", deadline_s=deadline_s, what="loading the model")

    async def pause(self) -> None:
        """Freeze requests in flight and drop what was cached under the old weights."""
        await self._call("pause")

    async def connect(self, group: TransferGroup) -> None:
        """Join the transfer group."""
        await self._call("connect", group, what="joining the transfer group")

    async def receive(self, manifest: TransferManifest, version: int) -> int:
        """Receive and load the weights of `version`; the checksum of what arrived."""
        return await self._call("receive", manifest, version, what=f"weights of version {version}")

    async def resume(self) -> None:
        """Go on with requests in flight."""
        await self._call("resume")

    async def score(self, token_ids: Sequence[int]) -> list[float]:
        """Log-probabilities (nats) of a fixed sequence."""
        return await self._call("score", list(token_ids), what="the probe")

    async def reload(self, path: str) -> None:
        """Load the weights of another checkpoint of the same architecture."""
        await self._call("reload", path, what=path)

    async def sleep(self) -> None:
        """Free the GPU."""
        await self._call("sleep")

    async def wake(self) -> None:
        """Take the GPU again."""
        await self._call("wake")

    async def health(self) -> None:
        """Return if the engine lives."""
        await self._call("health")

    async def stop(self) -> None:
        """Shut the engine down and kill its actor; a dead one is no error."""
        try:
            with suppress(EngineDied, DeadlineExceeded):  # killed below either way
                await self._call("stop", deadline_s=30.0)
        finally:
            await kill(self.name, self.handle)

    async def _call(self, method: str, *args: Any, deadline_s: float | None = None, what: str = "") -> Any:
        try:
            return await call(
                self.name, self.handle, method, *args, deadline_s=deadline_s or self._timeout_s, what=what
            )
        except ActorDied as error:
            raise EngineDied(self.name, error.cause) from None


class NamedEngine:
    """An engine found by its name each time it was lost: it outlives the replacement of its actor."""

    def __init__(self, name: str, namespace: str, timeout_s: float) -> None:
        self.name, self._namespace, self._timeout_s = name, namespace, timeout_s
        self._engine: RemoteEngine | None = None

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        """Sample continuations, waiting for the engine's replacement until the request's deadline."""
        try:
            async with asyncio.timeout(request.deadline_s):
                while True:
                    try:
                        return await (await self._find()).generate(request)
                    except EngineDied:
                        self._engine = None
                        await asyncio.sleep(1.0)
        except TimeoutError:
            raise DeadlineExceeded(self.name, "generate", f"request {request.request_id}", request.deadline_s) from None

    async def _find(self) -> RemoteEngine:
        if self._engine is None:
            try:
                handle = await asyncio.to_thread(ray.get_actor, self.name, self._namespace)
            except ValueError as error:
                raise EngineDied(self.name, "no actor of this name") from error
            self._engine = RemoteEngine(self.name, handle, self._timeout_s)
        return self._engine


class RemoteLearner:
    """All learner ranks as one. Every call goes to every rank, since each is a collective."""

    def __init__(self, ranks: Sequence[Any], timeout_s: float, step_timeout_s: float, temperature: float) -> None:
        """`ranks` are the actor handles in rank order; `temperature` is that of the rollouts."""
        self._ranks, self._timeout_s = tuple(ranks), timeout_s
        self._step_timeout_s, self._temperature = step_timeout_s, temperature

    async def start(self, trust_remote_code: bool, deadline_s: float) -> None:
        """Load the model on every rank."""
        address, port = await self._first("master")
        await self._all("start", address, port, trust_remote_code, deadline_s=deadline_s, what="loading the model")

    async def train_step(self, samples: list[TrainSample], step: int) -> StepMetrics:
        """Do one optimizer step; `step` is how many were done before."""
        return await self._all(
            "train_step", ray.put(samples), step, self._temperature,
            deadline_s=self._step_timeout_s, what=f"step {step}",
        )  # fmt: skip

    async def save(self, path: str, client_state: dict[str, Any], options: dict[str, Any]) -> Manifest:
        """Write a checkpoint; `options` are the keyword arguments of `Learner.save`."""
        return await self._all("save", path, client_state, options, deadline_s=self._step_timeout_s, what=path)

    async def load(self, path: str) -> dict[str, Any]:
        """Go on from a checkpoint; its client state."""
        return await self._all("load", path, deadline_s=self._step_timeout_s, what=path)

    async def rendezvous(self) -> tuple[str, int]:
        """An address of rank 0 and a free port there."""
        return await self._sending(lambda: self._first("rendezvous"))

    async def manifest(self) -> TransferManifest:
        """What `send` will send."""
        return await self._sending(lambda: self._all("manifest"))

    async def connect(self, group: TransferGroup) -> None:
        """Form the transfer group; only rank 0 is a member."""
        await self._sending(lambda: self._all("connect", group))

    async def send(self, version: int) -> int:
        """Send the weights of `version`; the checksum of what was sent."""
        return await self._sending(lambda: self._all("send", version, what=f"weights of version {version}"))

    async def logprobs(self, token_ids: Sequence[int]) -> list[float]:
        """The learner's log-probabilities (nats) of a fixed sequence, at temperature 1."""
        return await self._sending(lambda: self._all("logprobs", list(token_ids), what="the probe"))

    async def stop(self) -> None:
        """Kill all ranks."""
        for rank in self._ranks:
            ray.kill(rank)

    async def _sending(self, calling: Callable[[], Any]) -> Any:
        """A call of the sync: without the learner no sync makes sense, and no engine is to blame."""
        try:
            return await calling()
        except ActorDied as error:
            raise SenderLost(str(error)) from None

    async def _first(self, method: str, *args: Any) -> Any:
        return await call("learner-rank-0", self._ranks[0], method, *args, deadline_s=self._timeout_s)

    async def _all(self, method: str, *args: Any, deadline_s: float | None = None, what: str = "") -> Any:
        """Call every rank; the answer of rank 0. The first failure is raised; it names the rank."""
        calls = [
            call(f"learner-rank-{rank}", handle, method, *args, deadline_s=deadline_s or self._timeout_s, what=what)
            for rank, handle in enumerate(self._ranks)
        ]
        return (await asyncio.gather(*calls))[0]


class RemoteEvaluator:
    """An evaluator actor as the pool sees it."""

    def __init__(self, name: str, spawn: Callable[[], Any], config: EvaluationConfig, turn: Turn) -> None:
        """`spawn()` makes the actor; `turn("evaluation")` is held while it uses its engine."""
        self.name, self._spawn, self._config, self._turn = name, spawn, config, turn
        self._handle: Any = None

    async def start(self) -> None:
        """Start the actor and its engine."""
        self._handle = self._spawn()
        await self._call("start", deadline_s=self._config.engine.start_timeout_s, what="loading the model")

    async def load(self, job: EvaluationJob) -> None:
        """Load and verify the job's checkpoint."""
        async with self._turn("evaluation"):
            await self._call("load", job, deadline_s=self._config.engine.start_timeout_s, what=job.weights)

    async def run(self, job: EvaluationJob, evaluation: str) -> EvaluationResult:
        """Run one evaluation on the loaded checkpoint."""
        async with self._turn("evaluation"):
            what = f"{evaluation} of step {job.step}"
            return await self._call("run", job, evaluation, deadline_s=self._config.timeout_s + GRACE_S, what=what)

    async def replace(self, cause: str) -> None:
        """Kill the actor and start another."""
        await self.stop()
        await self.start()

    async def sleep(self) -> None:
        """Free the GPU."""
        await self._call("sleep", deadline_s=60.0)

    async def wake(self) -> None:
        """Take the GPU again."""
        await self._call("wake", deadline_s=60.0)

    async def stop(self) -> None:
        """End the engine and kill the actor."""
        if self._handle is None:
            return
        try:
            with suppress(ActorDied, DeadlineExceeded):  # killed below either way
                await self._call("stop", deadline_s=30.0)
        finally:
            await kill(self.name, self._handle)

    async def _call(self, method: str, *args: Any, deadline_s: float, what: str = "") -> Any:
        return await call(self.name, self._handle, method, *args, deadline_s=deadline_s, what=what)
