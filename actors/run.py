"""One run: one arm, one seed, from its folder to its last checkpoint."""

import asyncio
from typing import NamedTuple

import msgspec

from actors.book import RunBook
from actors.clock import BusyClock
from actors.config import Config
from actors.controller import Controller
from actors.data import RunData
from actors.evaluators import EvaluationJob
from actors.filler import SlotFiller
from actors.folder import RunFolder, run_path, write_json
from actors.gauges import gauges
from actors.handles import RemoteLearner
from actors.metrics import MetricsRecorder
from actors.models import matmul_parameters, probe_tokens
from actors.progress import Progress
from actors.publisher import Publisher
from actors.session import Session
from evaluation.compute import ComputeLedger
from grading.helpfulness import HELPFULNESS
from learner.checkpoint import WEIGHTS, Manifest
from learner.registry import Checkpoint, CheckpointRegistry
from learner.types import StepMetrics, TrainSample
from rollout.interventions import mix_pools
from rollout.ledger import Ledger
from rollout.sampler import MixSampler

DONE = "done.json"
"""Written into a run's folder when its last step is trained, its ledger audited and its checkpoint kept."""


class Start(NamedTuple):
    """Where a run begins."""

    step: int
    """Optimizer steps done."""
    compute: ComputeLedger


class Run:
    """Wires one run's parts together and trains it."""

    def __init__(self, session: Session, config: Config, data: RunData, progress: Progress, resume: bool) -> None:
        """Open the run's folder and its sampler.

        Raises:
            FolderError: the folder cannot be used.
            ValueError: the data does not fill the mix.
        """
        self._session, self._config, self._data, self._progress = session, config, data, progress
        self._folder = RunFolder.create(config, resume=resume)
        self.registry = CheckpointRegistry(self._folder.path)
        pools = mix_pools(config.mix, config.arms[config.arm], data.standard, data.trait, HELPFULNESS)
        self._sampler = MixSampler(pools, config.mix, config.seed, config.groups_per_step)
        self._probe = probe_tokens(session.models.policy, data.standard, config.rollout.engine.trust_remote_code)
        self._recorder = MetricsRecorder(config.arm, config.seed)
        self._lock = asyncio.Lock()
        self._clock = BusyClock()

    async def train(self) -> None:
        """Train all steps that are left, and write `done.json`."""
        learner = await self._session.new_learner(self._config)
        resumed = self.registry.latest_resumable()
        start = await self._restore(learner, resumed)
        publisher = Publisher(
            learner, self._session.rollout, self._config.sync, self._probe,
            self._config.rollout.engine.tensor_parallel_size, self._lock, self._progress.note,
        )  # fmt: skip
        async with self._session.turn("rollout"), self._lock:
            await publisher.publish(start.step)
        try:
            with self._open_ledger(start.step) as ledger:
                await self._train(learner, publisher, ledger, start)
        finally:
            await publisher.close()
            self._folder.close()

    async def _train(self, learner: RemoteLearner, publisher: Publisher, ledger: Ledger, start: Start) -> None:
        book = self._book(ledger, publisher, start.compute)
        if start.step == 0:
            await self._checkpoint(learner, book, 0)

        async def publish(version: int) -> None:
            async with self._session.turn("rollout"):
                await publisher.publish(version)

        controller = Controller(
            fill=self._filler(book).fill,
            trainer=_InTurn(learner, self._session),
            publish=publish,
            checkpoint=lambda step: self._checkpoint(learner, book, step),
            is_checkpoint_step=self._is_checkpoint_step,
            events=book,
            clock=self._clock,
            learner_lock=self._lock,
            groups_per_step=self._config.groups_per_step,
            max_policy_lag=self._config.max_policy_lag,
        )
        await controller.run(start.step, self._config.steps)
        start.compute.engine_starts = self._session.num_engine_starts
        book.finish()
        write_json(self._folder.path / DONE, {"steps": self._config.steps})

    async def _restore(self, learner: RemoteLearner, resumed: Checkpoint | None) -> Start:
        if resumed is None:
            compute = ComputeLedger(
                policy_parameters=matmul_parameters(self._session.models.policy),
                judge_parameters=matmul_parameters(self._session.models.judge),
            )
            return Start(0, compute)
        state = await learner.load(str(resumed.path))
        self._sampler.load_state_dict(state["sampler"])
        self._progress.note(f"resumed from step {resumed.manifest.step}")
        return Start(resumed.manifest.step, msgspec.convert(state["compute"], ComputeLedger))

    def _open_ledger(self, trained_steps: int) -> Ledger:
        path, groups_per_step = self._folder.path / "ledger.jsonl", self._config.groups_per_step
        if trained_steps > 0 or path.exists():
            return Ledger.reopen(path, groups_per_step, trained_steps)
        return Ledger.create(path, groups_per_step)

    def _book(self, ledger: Ledger, publisher: Publisher, compute: ComputeLedger) -> RunBook:
        return RunBook(
            config=self._config,
            folder=self._folder,
            ledger=ledger,
            sampler=self._sampler,
            compute=compute,
            show=self._show,
            tell=self._progress.note,
            gauges=lambda: gauges(self._session.rollout.fleet, self._session.grader, publisher),
        )

    def _filler(self, book: RunBook) -> SlotFiller:
        return SlotFiller(
            draw=book.draw,
            generator=self._session.generator,
            grader=self._session.grader,
            keep=book.keep,
            listener=book.attempted,
            config=self._config.rollout,
            diagnosis=book.diagnosis,
        )

    def _show(self, figures: dict[str, float]) -> None:
        self._progress.update(figures)
        self._recorder.record(figures)

    def _is_checkpoint_step(self, step: int) -> bool:
        evaluated = self._config.evaluation.num_evaluators > 0 and step % self._config.evaluation.every_steps == 0
        return evaluated or step % self._config.checkpoint.every_steps == 0 or step == self._config.steps

    async def _checkpoint(self, learner: RemoteLearner, book: RunBook, step: int) -> None:
        """Write a checkpoint and hand it to the evaluators. Nothing waits for the evaluation."""
        path = self.registry.path(step)
        options = {"run": self._config.name, "arm": self._config.arm, "probe_token_ids": list(self._probe)}
        async with self._lock:
            manifest = await learner.save(str(path), book.client_state(), options)
        self.registry.prune(self._config.checkpoint.keep)
        self._session.pool.submit(evaluation_job(self._config, manifest, str(path / WEIGHTS)))


class _InTurn:
    """The learner, training only in its turn."""

    def __init__(self, learner: RemoteLearner, session: Session) -> None:
        self._learner, self._session = learner, session

    async def train_step(self, samples: list[TrainSample], step: int) -> StepMetrics:
        """Do one optimizer step."""
        async with self._session.turn("learner"):
            return await self._learner.train_step(samples, step)


def evaluation_job(config: Config, manifest: Manifest, weights: str) -> EvaluationJob:
    """What the evaluators need to know of a run's checkpoint."""
    return EvaluationJob(
        run=run_name(config),
        arm=config.arm,
        seed=config.seed,
        step=manifest.step,
        weights=weights,
        content_hash=manifest.weights_hash,
        probe_token_ids=manifest.probe_token_ids,
        probe_logprobs=manifest.probe_logprobs,
    )


def run_name(config: Config) -> str:
    """Name of a run in results: that of its folder."""
    return run_path(config).name


def is_done(config: Config) -> bool:
    """Whether the run was trained to its end."""
    return (run_path(config) / DONE).exists()
