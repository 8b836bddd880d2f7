"""Reads an experiment's folder: what was planned, and what every run of it left behind.

    <experiment>/experiment.json
    <experiment>/<arm>-seed<k>/{config,environment,compute}.json, metrics.jsonl, evaluations/, ...

A folder of an unfinished or interrupted experiment is read as far as it goes; what is missing is named in `notes`.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pandas as pd

from evaluation.compute import ComputeLedger
from evaluation.store import ResultsStore, write_atomically
from evaluation.types import Evaluation, EvaluationResult
from grading.calibration import Calibration, CanaryResult
from rollout.arms import ARMS, Arm
from rollout.config import MixConfig, SourceConfig

_RUN_NAME = re.compile(r"(?P<arm>.+)-seed(?P<seed>\d+)")


class ExperimentRecord(msgspec.Struct, frozen=True, kw_only=True):
    """experiment.json: what the runs have in common."""

    name: str = ""
    arms: tuple[str, ...] = ()
    """The first is what the others are compared with."""
    seeds: tuple[int, ...] = ()
    world: str = ""
    """Name of the miniature world; empty for a real model and real data."""
    persona_coupling: float | None = None
    """The miniature world's dial, in [0, 1]; None for real data."""
    judge_calibration: Calibration | None = None
    """The judge against labelled responses."""
    canaries: tuple[CanaryResult, ...] = ()
    """What responses without content earned from the judge."""

    def save(self, experiment_dir: Path | str) -> None:
        """Write experiment.json."""
        data = msgspec.json.format(msgspec.json.encode(self))
        write_atomically(Path(experiment_dir) / "experiment.json", data + b"\n")


class RunConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The part of config.json that the report needs."""

    model: str = ""
    steps: int = 0
    groups_per_step: int = 0
    max_policy_lag: int | None = None
    mix: MixConfig = MixConfig()
    arms: dict[str, Arm] = msgspec.field(default_factory=lambda: dict(ARMS))

    @property
    def intervention(self) -> SourceConfig | None:
        """The source whose prompts the arm decides."""
        return next((source for source in self.mix.sources if source.intervention), None)


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One run's folder."""

    arm: str
    seed: int
    config: RunConfig
    environment: dict[str, Any]
    metrics: pd.DataFrame
    """One row for each optimizer step, indexed by step; empty when nothing was trained yet."""
    results: list[EvaluationResult]
    items: list[Evaluation]
    compute: ComputeLedger | None


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment's folder."""

    folder: Path
    record: ExperimentRecord
    runs: tuple[RunRecord, ...]
    notes: tuple[str, ...]
    """What is missing or was left out, one sentence each."""

    @property
    def arms(self) -> tuple[str, ...]:
        """Arms that have a run: the baseline first, in the planned order."""
        present = {run.arm for run in self.runs}
        planned = [arm for arm in self.record.arms if arm in present]
        return tuple(planned + sorted(present - set(planned)))

    @property
    def baseline(self) -> str:
        """The arm that the others are compared with."""
        return self.arms[0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that have a run."""
        return tuple(sorted({run.seed for run in self.runs}))

    @property
    def results(self) -> list[EvaluationResult]:
        """Results of all runs."""
        return [result for run in self.runs for result in run.results]

    def of_arm(self, arm: str) -> list[RunRecord]:
        """The runs of one arm, by seed."""
        return sorted((run for run in self.runs if run.arm == arm), key=lambda run: run.seed)


def read_experiment(folder: Path | str) -> Experiment:
    """Read an experiment's folder, or a single run's.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no run, or a file in it is not what it should be; says which.
    """
    folder = Path(folder).resolve()
    if not folder.is_dir():
        raise FileNotFoundError(f"no experiment at {folder}: give the folder that a run or an experiment wrote")
    folders = [folder] if _RUN_NAME.fullmatch(folder.name) else sorted(_run_folders(folder))
    if not folders:
        raise ValueError(f"{folder} holds no run: expected folders named <arm>-seed<k>, such as baseline-seed0")
    notes: list[str] = []
    runs = tuple(_read_run(path, notes) for path in folders)
    record = _read_record(folder)
    notes.extend(_unplanned(record, runs))
    return Experiment(folder=folder, record=record, runs=runs, notes=tuple(notes))


def _run_folders(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.is_dir() and _RUN_NAME.fullmatch(path.name))


def _read_record(folder: Path) -> ExperimentRecord:
    path = folder / "experiment.json"
    return _decode(path, ExperimentRecord) if path.exists() else ExperimentRecord(name=folder.name)


def _unplanned(record: ExperimentRecord, runs: tuple[RunRecord, ...]) -> Iterator[str]:
    present = {(run.arm, run.seed) for run in runs}
    for arm in record.arms:
        missing = [str(seed) for seed in record.seeds if (arm, seed) not in present]
        if missing:
            yield f"Planned but not run: {arm}, seed {', '.join(missing)}."


def _read_run(path: Path, notes: list[str]) -> RunRecord:
    named = _RUN_NAME.fullmatch(path.name)
    assert named is not None
    store, compute = ResultsStore(path), path / "compute.json"
    run = RunRecord(
        arm=named["arm"],
        seed=int(named["seed"]),
        config=_decode(path / "config.json", RunConfig) if (path / "config.json").exists() else RunConfig(),
        environment=_decode(path / "environment.json", dict) if (path / "environment.json").exists() else {},
        metrics=_read_metrics(path / "metrics.jsonl", notes),
        results=store.read(),
        items=store.read_items(),
        compute=ComputeLedger.load(compute) if compute.exists() else None,
    )
    notes.extend(_missing(path.name, run))
    return run


def _missing(name: str, run: RunRecord) -> Iterator[str]:
    if run.metrics.empty:
        yield f"{name} has no training metrics."
    elif run.config.steps and run.metrics.index.max() < run.config.steps:
        yield f"{name} stops at step {run.metrics.index.max()} of {run.config.steps}."
    if not run.results:
        yield f"{name} has no evaluated checkpoint."
    if run.compute is None:
        yield f"{name} has no compute ledger."


def _read_metrics(path: Path, notes: list[str]) -> pd.DataFrame:
    """Numbers by step; of a step that was run twice (a resumed run) the later line counts."""
    lines = path.read_bytes().splitlines() if path.exists() else []
    rows: dict[int, dict[str, float]] = {}
    for number, line in enumerate(lines, start=1):
        try:
            row = msgspec.json.decode(line, type=dict[str, Any])
        except msgspec.DecodeError as error:
            if number == len(lines):  # a run that was killed while it wrote
                notes.append(f"{path.parent.name}/metrics.jsonl ends in half a line, which was left out.")
                continue
            raise ValueError(f"{path}, line {number}: not a JSON object ({error})") from error
        rows[int(row["step"])] = {key: value for key, value in row.items() if isinstance(value, int | float)}
    return pd.DataFrame.from_dict(rows, orient="index").sort_index()


def _decode(path: Path, kind: Any) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except msgspec.DecodeError as error:
        raise ValueError(f"{path} can't be read ({error})") from error
