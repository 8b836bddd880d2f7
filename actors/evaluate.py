"""Evaluates one checkpoint folder on its own: the `evaluate` command."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from actors.cluster import anchored, connected
from actors.config import Config
from actors.data import load_data
from actors.evaluators import EvaluationJob
from actors.experiment import chosen_evaluations
from actors.folder import experiment_path
from actors.models import Models, resolve_models
from actors.session import Session
from actors.stages import Stages
from evaluation.store import ResultsStore, write_results_csv
from evaluation.types import Evaluation, EvaluationResult
from learner.checkpoint import MANIFEST, WEIGHTS, content_hash, load_manifest


def evaluate_checkpoint(config: Config, path: Path) -> Path:
    """Run the configured evaluations on a run's checkpoint or any Hugging Face folder; the path of results.csv.

    Raises:
        ValueError: the configuration has no evaluators, or names an unknown evaluation.
        CheckpointError: the folder holds no weights, or not those that its manifest names.
    """
    if config.evaluation.num_evaluators == 0:
        raise ValueError("evaluation.num_evaluators is 0: set it to at least 1 to evaluate a checkpoint")
    config = msgspec.structs.replace(
        config,
        output_dir=anchored(config.output_dir),
        cache_dir=anchored(config.cache_dir),
        rollout=msgspec.structs.replace(config.rollout, num_engines=0),
        learner=msgspec.structs.replace(config.learner, num_ranks=0),
    )
    job = checkpoint_job(path.absolute())
    evaluations = chosen_evaluations(config, load_data(config.data).evaluations)
    with Stages("the miniature's models") as stages:
        models = msgspec.structs.replace(resolve_models(config, stages.report), policy=job.weights)
    with connected(config):
        asyncio.run(_evaluate(config, models, evaluations, job))
    store = ResultsStore(_folder(config, job))
    return write_results_csv(store.read(), _folder(config, job) / "results.csv")


def checkpoint_job(path: Path) -> EvaluationJob:
    """What to evaluate: a run's checkpoint with its manifest's probe, or a plain folder of weights."""
    if (path / MANIFEST).is_file():
        manifest = load_manifest(path)
        return EvaluationJob(
            run=manifest.run, arm=manifest.arm, seed=manifest.seed, step=manifest.step, weights=str(path / WEIGHTS),
            content_hash=manifest.weights_hash, probe_token_ids=manifest.probe_token_ids,
            probe_logprobs=manifest.probe_logprobs,
        )  # fmt: skip
    return EvaluationJob(
        run=path.name, arm="", seed=0, step=0, weights=str(path), content_hash=content_hash(path),
        probe_token_ids=(), probe_logprobs=(),
    )  # fmt: skip


class _Printer:
    """Prints results as they arrive, and keeps them at the end."""

    def __init__(self, folder: Path) -> None:
        self._store = ResultsStore(folder)
        self.failure = ""

    def arrived(self, result: EvaluationResult) -> None:
        """Print one line."""
        score = "ungraded" if result.score is None else f"{result.score:.3f}"
        print(f"{result.evaluation}: {score} ({result.num_samples} samples)", file=sys.stderr, flush=True)

    def completed(self, results: Sequence[EvaluationResult]) -> None:
        """Keep all results."""
        self._store.save(results)
        self.failure = ""

    def failed(self, job: EvaluationJob, reason: str) -> None:
        """Remember why; a later try may succeed."""
        self.failure = reason


async def _evaluate(config: Config, models: Models, evaluations: Sequence[Evaluation], job: EvaluationJob) -> None:
    printer = _Printer(_folder(config, job))
    session = Session(config, models, evaluations, printer, lambda text: print(text, file=sys.stderr))
    try:
        await session.start()
        session.pool.submit(job)
        await session.pool.drain(config.evaluation.drain_timeout_s)
    finally:
        await session.stop()
    if printer.failure:
        raise RuntimeError(f"the evaluation of {job.weights} failed: {printer.failure}")


def _folder(config: Config, job: EvaluationJob) -> Path:
    return experiment_path(config) / f"evaluated-{job.content_hash[:12]}"
