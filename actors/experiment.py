"""Arms and seeds one after another on the same live engines; evaluation beside them; the report at the end.

models (bootstrap) -> data -> placement -> engines
for seed, arm: learner -> train -> checkpoints ─> evaluators ─> results
drain -> report
"""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from actors.cluster import anchored, connected
from actors.config import Config
from actors.data import RunData, load_data
from actors.evaluators import EvaluationJob
from actors.folder import FolderError, experiment_path, run_path
from actors.models import Models, resolve_models
from actors.progress import Progress
from actors.run import Run, evaluation_job, is_done, run_name
from actors.session import Session
from actors.stages import Stages
from evaluation.experiment import ExperimentRecord
from evaluation.store import ResultsStore
from evaluation.types import Evaluation, EvaluationResult
from learner.checkpoint import WEIGHTS
from learner.registry import CheckpointRegistry


def run_experiment(config: Config, resume: bool = False) -> Path:
    """Train and evaluate every arm with every seed; the path of the report.

    Raises:
        ConfigError, FolderError, PlacementError: before anything is trained.
    """
    config = _anchored(config)
    with Stages("the miniature's models") as stages:
        models = resolve_models(config, stages.report)
    if models.judge_words:
        _say(models.judge_words)
    data = load_data(config.data)
    with connected(config):
        asyncio.run(Experiment(config, models, data, resume).run())
    from evaluation.report import summary_table, write_report

    page = write_report(experiment_path(config))
    print(summary_table(experiment_path(config)))
    return page


def train(config: Config, resume: bool = False) -> Path:
    """Train and evaluate `config.arm` with `config.seed`: an experiment of one run."""
    alone = msgspec.structs.replace(config.experiment, arms=(config.arm,), seeds=(config.seed,))
    return run_experiment(msgspec.structs.replace(config, experiment=alone), resume)


class Experiment:
    """All runs of one experiment. Also the listener of its evaluations."""

    def __init__(self, config: Config, models: Models, data: RunData, resume: bool) -> None:
        self._config, self._models, self._data, self._resume = config, models, data, resume
        self._progress: Progress | None = None

    async def run(self) -> None:
        """Run everything; actors end whether it succeeds, fails or is interrupted."""
        write_experiment(self._config)
        evaluations = chosen_evaluations(self._config, self._data.evaluations)
        session = Session(self._config, self._models, evaluations, self, self._note)
        try:
            _say(f"starting engines: {', '.join((*session.rollout.names, *session.graders.names))}")
            await session.start()
            await self._supervised(session)
        finally:
            await session.stop()

    async def _supervised(self, session: Session) -> None:
        """Train while the keepers watch: whichever fails first ends the other."""
        watch = asyncio.create_task(session.watch(), name="keepers")
        work = asyncio.create_task(self._all_runs(session), name="runs")
        try:
            done, _ = await asyncio.wait({watch, work}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (watch, work):
                task.cancel()
            await asyncio.gather(watch, work, return_exceptions=True)

    async def _all_runs(self, session: Session) -> None:
        configs = list(run_configs(self._config))
        for number, config in enumerate(configs, start=1):
            await self._one_run(session, config, f"run {number} of {len(configs)}")
        if session.pool.num_open:
            _say(f"training is done; {session.pool.num_open} checkpoints are still being evaluated")
        await session.pool.drain(self._config.evaluation.drain_timeout_s)

    async def _one_run(self, session: Session, config: Config, position: str) -> None:
        resume = self._resume and (run_path(config) / "config.json").exists()
        if resume:
            self._take_up_evaluations(session, config)
        if resume and is_done(config):
            _say(f"{position}: {run_name(config)} is trained already")
            return
        with Progress(config, position) as self._progress:
            run = Run(session, config, self._data, self._progress, resume)
            ResultsStore(run_path(config)).save_items(self._data.evaluations)
            await run.train()
        self._progress = None

    def _take_up_evaluations(self, session: Session, config: Config) -> None:
        """Make known what an earlier process evaluated, and submit what it did not get to."""
        store = ResultsStore(run_path(config))
        session.pool.remember(store.read())
        for checkpoint in CheckpointRegistry(run_path(config)).list():
            if not store.has(checkpoint.manifest.step):
                weights = str(checkpoint.path / WEIGHTS)
                session.pool.submit(evaluation_job(config, checkpoint.manifest, weights))

    def arrived(self, result: EvaluationResult) -> None:
        """Show a result as it arrives."""
        if self._progress is not None:
            self._progress.evaluation(result)

    def completed(self, results: Sequence[EvaluationResult]) -> None:
        """Keep all results of a checkpoint."""
        ResultsStore(experiment_path(self._config) / results[0].run).save(results)

    def failed(self, job: EvaluationJob, reason: str) -> None:
        """Say that a checkpoint could not be evaluated."""
        self._note(f"evaluation of step {job.step} of {job.run} failed: {reason}")

    def _note(self, text: str) -> None:
        if self._progress is not None:
            self._progress.note(text)
        else:
            _say(text)


def run_configs(config: Config) -> Iterator[Config]:
    """The configuration of every run: for each seed, every arm."""
    for seed in config.experiment.seeds:
        for arm in config.experiment.arms:
            yield msgspec.structs.replace(config, arm=arm, seed=seed)


def chosen_evaluations(config: Config, offered: Sequence[Evaluation]) -> list[Evaluation]:
    """The evaluations to run.

    Raises:
        ValueError: a name that the data does not offer, with what it does.
    """
    if config.evaluation.num_evaluators == 0:
        return []
    by_name = {evaluation.name: evaluation for evaluation in offered}
    unknown = [name for name in config.evaluation.names if name not in by_name]
    if unknown:
        raise ValueError(f"evaluation.names: there is no evaluation {unknown[0]!r}; there are: {', '.join(by_name)}")
    return [by_name[name] for name in config.evaluation.names] if config.evaluation.names else list(offered)


def write_experiment(config: Config) -> None:
    """What the report needs to know of the experiment as a whole."""
    record = ExperimentRecord(name=config.name, arms=config.experiment.arms, seeds=config.experiment.seeds)
    if config.data.kind == "miniature":
        from scenarios.miniature.world import load_world

        world = load_world(config.data.world)
        record = msgspec.structs.replace(record, world=world.name, persona_coupling=world.persona_coupling)
    folder = experiment_path(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        record.save(folder)
    except OSError as error:
        raise FolderError(
            f"cannot write to {folder}: {error.strerror}; choose another place with --set output_dir=..."
        ) from None


def _anchored(config: Config) -> Config:
    return msgspec.structs.replace(config, output_dir=anchored(config.output_dir), cache_dir=anchored(config.cache_dir))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
