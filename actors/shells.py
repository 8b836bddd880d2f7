"""The Ray actors: thin shells around plain classes, each in a process of its own.

Heavy packages are imported inside the actors, after their environment is set, and never by whoever
only holds a handle.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

import ray

from actors.evaluators import EvaluationJob, JudgeAddress, check_held
from actors.handles import NamedEngine
from evaluation.config import EvaluationConfig
from evaluation.types import Evaluation, EvaluationResult
from grading.config import GradingConfig
from learner.checkpoint import Manifest
from learner.config import LearnerConfig
from learner.types import StepMetrics, TrainSample
from rollout.config import EngineConfig
from rollout.types import GenerateRequest, GenerateResult
from rollout.weight_sync import TransferGroup, TransferManifest

Device = Literal["cpu", "cuda"]
Transfer = Literal["gloo", "nccl"]


@ray.remote(max_restarts=0)
class EngineActor:
    """One vLLM engine."""

    def __init__(self, name: str, model: str, config: EngineConfig, device: Device, transfer: Transfer | None) -> None:
        """`transfer` is the weight-transfer back end, or None for an engine whose weights stay."""
        self._settings = (name, model, config, device, transfer)

    async def start(self) -> None:
        """Load the model."""
        from rollout.vllm_engine import VllmEngine

        self._engine = await VllmEngine.start(*self._settings)

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        """Sample continuations."""
        return await self._engine.generate(request)

    async def pause(self) -> None:
        """Freeze requests in flight."""
        await self._engine.pause()

    async def connect(self, group: TransferGroup) -> None:
        """Join the transfer group."""
        await self._engine.connect(group)

    async def receive(self, manifest: TransferManifest, version: int) -> int:
        """Receive and load weights; their checksum."""
        return await self._engine.receive(manifest, version)

    async def resume(self) -> None:
        """Go on with requests in flight."""
        await self._engine.resume()

    async def score(self, token_ids: Sequence[int]) -> list[float]:
        """Log-probabilities of a fixed sequence."""
        return await self._engine.score(token_ids)

    async def reload(self, path: str) -> None:
        """Load another checkpoint's weights."""
        await self._engine.reload(path)

    async def sleep(self) -> None:
        """Free the GPU."""
        await self._engine.sleep()

    async def wake(self) -> None:
        """Take the GPU again."""
        await self._engine.wake()

    async def health(self) -> None:
        """Return if the engine lives."""
        await self._engine.health()

    async def stop(self) -> None:
        """Shut the engine down, if it ever started."""
        if hasattr(self, "_engine"):
            await asyncio.to_thread(self._engine.stop)  # vLLM waits for its processes


@ray.remote(max_restarts=0)
class LearnerActor:
    """One rank of the learner."""

    def __init__(
        self, model: str, config: LearnerConfig, rank: int, device: Device, seed: int, transfer: Transfer, wire: str
    ) -> None:
        """`transfer` is the weight-transfer back end, `wire` the engines' data type, in which weights travel."""
        self._model, self._config, self._rank = model, config, rank
        self._device, self._seed, self._transfer, self._wire = device, seed, transfer, wire

    def master(self) -> tuple[str, int]:
        """This rank's address and a free port on it, for the ranks' rendezvous."""
        from rollout.weight_wire import free_port

        address = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
        return address, free_port(address)

    def start(self, master_address: str, master_port: int, trust_remote_code: bool) -> None:
        """Load the model."""
        import torch

        from learner.learner import Learner
        from learner.weight_source import WeightSender

        self._learner = Learner(
            self._model, self._config, self._rank, self._config.num_ranks, master_address, master_port,
            self._device, self._seed, trust_remote_code,
        )  # fmt: skip
        wire = getattr(torch, self._wire)
        self._sender = WeightSender(self._learner.merged_parameters, self._rank, wire, self._transfer)

    def train_step(self, samples: list[TrainSample], step: int, temperature: float) -> StepMetrics:
        """Do one optimizer step."""
        return self._learner.train_step(samples, step, temperature)

    def logprobs(self, token_ids: list[int]) -> list[float]:
        """Log-probabilities of a fixed sequence at temperature 1."""
        return self._learner.logprobs(token_ids)

    def save(self, path: str, client_state: dict[str, Any], options: dict[str, Any]) -> Manifest:
        """Write a checkpoint; `options` are the keyword arguments of `Learner.save`."""
        return self._learner.save(path, client_state, **options)

    def load(self, path: str) -> dict[str, Any]:
        """Go on from a checkpoint; its client state."""
        return self._learner.load(path)

    def rendezvous(self) -> tuple[str, int]:
        """An address of this rank and a free port there."""
        return self._sender.rendezvous(self.master()[0])

    def manifest(self) -> TransferManifest:
        """What `send` will send."""
        return self._sender.manifest()

    def connect(self, group: TransferGroup) -> None:
        """Form the transfer group."""
        self._sender.connect(group)

    def send(self, version: int) -> int:
        """Send the weights; every rank takes part in gathering them, rank 0 sends."""
        return self._sender.send(version)


@ray.remote(max_restarts=0)
class EvaluatorActor:
    """Loads checkpoints into an engine of its own and runs evaluations on them, graded by the grader fleet."""

    def __init__(
        self,
        name: str,
        model: str,
        device: Device,
        config: EvaluationConfig,
        grading: GradingConfig,
        judge: JudgeAddress,
        evaluations: tuple[Evaluation, ...],
    ) -> None:
        self._name, self._model, self._device, self._config = name, model, device, config
        self._grading, self._judge = grading, judge
        self._evaluations = {evaluation.name: evaluation for evaluation in evaluations}

    async def start(self) -> None:
        """Start the engine and connect to the grader engines."""
        from grading.grader import Grader
        from grading.judge import Judge
        from rollout.fleet import Fleet
        from rollout.vllm_engine import VllmEngine

        graders = Fleet()
        for name in self._judge.engines:
            engine = NamedEngine(name, self._judge.namespace, self._grading.request_timeout_s)
            graders.add(name, engine, self._grading.max_concurrent)
        self._grader = Grader(Judge(graders, self._grading, self._judge.name))
        self._engine = await VllmEngine.start(self._name, self._model, self._config.engine, self._device)

    async def load(self, job: EvaluationJob) -> None:
        """Load the job's checkpoint and check that the engine holds it.

        Raises:
            CheckpointNotHeld: the engine's log-probabilities on the probe are not the learner's.
        """
        await self._engine.reload(job.weights, job.step)
        if job.probe_token_ids:
            found = await self._engine.score(job.probe_token_ids)
            check_held(job, found, self._judge.parity_tolerance)

    async def run(self, job: EvaluationJob, evaluation: str) -> EvaluationResult:
        """Run one evaluation on the loaded checkpoint."""
        from evaluation.suite import Limits, Subject, run_suite

        subject = Subject(run=job.run, arm=job.arm, seed=job.seed, checkpoint=job.content_hash, step=job.step)
        limits = Limits(
            temperature=self._config.temperature,
            max_items=self._config.max_items,
            max_concurrent=self._config.engine.max_num_seqs,
            timeout_s=self._config.timeout_s,
        )
        chosen = [self._evaluations[evaluation]]
        return await anext(run_suite(chosen, self._engine, self._grader, subject, limits))

    async def sleep(self) -> None:
        """Free the GPU."""
        await self._engine.sleep()

    async def wake(self) -> None:
        """Take the GPU again."""
        await self._engine.wake()

    async def stop(self) -> None:
        """Shut the engine down, if it ever started."""
        if hasattr(self, "_engine"):
            await asyncio.to_thread(self._engine.stop)  # vLLM waits for its processes
