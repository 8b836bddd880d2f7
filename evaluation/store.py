"""Keeps evaluation results: one JSONL file a checkpoint, written whole or not at all, and one table of all.

A checkpoint's file appears when its suite is complete, so its presence means that nothing is left to do.
"""

import os
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import pandas as pd

from evaluation.types import Evaluation, EvaluationResult

T = TypeVar("T", bound=msgspec.Struct)

COLUMNS = (
    "run", "arm", "seed", "checkpoint", "step", "evaluation", "family", "score", "stderr", "num_samples",
    "num_ungraded", "judge",
)  # fmt: skip
"""Columns of results.csv, in order."""


class JudgeMismatch(ValueError):
    """Scores by different judges were about to be compared."""

    def __init__(self, evaluation: str, judges: Sequence[str]) -> None:
        super().__init__(evaluation, tuple(judges))
        self.evaluation, self.judges = evaluation, tuple(judges)

    def __str__(self) -> str:
        return (
            f"evaluation {self.evaluation!r} was scored by different judges ({'; '.join(self.judges)}), whose scores "
            "can't be compared: evaluate these checkpoints again with one judge, or compare them separately"
        )


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that a reader, or a crash, never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    Path(file.name).chmod(0o644)
    Path(file.name).replace(path)


class ResultsStore:
    """Evaluation results of one run, under `<run folder>/evaluations/`."""

    def __init__(self, run_dir: Path | str) -> None:
        self.folder = Path(run_dir) / "evaluations"
        self._items = Path(run_dir) / "evaluation_items.jsonl"

    def save(self, results: Sequence[EvaluationResult]) -> Path:
        """Keep all results of one checkpoint, in place of what was kept for its step.

        Raises:
            ValueError: there are none, or they are of different checkpoints, or one evaluation comes twice.
        """
        subjects = {(result.run, result.arm, result.seed, result.checkpoint, result.step) for result in results}
        if len(subjects) != 1:
            raise ValueError(f"save takes the results of exactly one checkpoint, got those of {len(subjects)}")
        if len({result.evaluation for result in results}) != len(results):
            raise ValueError("save takes each evaluation of a checkpoint once")
        path = self._path(results[0].step)
        write_atomically(path, _lines(results))
        return path

    def has(self, step: int) -> bool:
        """Whether the checkpoint of this step is evaluated."""
        return self._path(step).exists()

    def read(self) -> list[EvaluationResult]:
        """All results, by step.

        Raises:
            ValueError: a line is not a result; says which.
        """
        return [result for path in sorted(self.folder.glob("step-*.jsonl")) for result in _read(path, EvaluationResult)]

    def save_items(self, evaluations: Sequence[Evaluation]) -> Path:
        """Keep what was asked, so that the report can show prompts beside responses."""
        write_atomically(self._items, _lines(evaluations))
        return self._items

    def read_items(self) -> list[Evaluation]:
        """What `save_items` kept; empty when nothing was."""
        return _read(self._items, Evaluation) if self._items.exists() else []

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}.jsonl"


def require_one_judge(results: Iterable[EvaluationResult]) -> None:
    """Refuse results of one evaluation that different judges scored.

    Raises:
        JudgeMismatch: an evaluation has scores of several judges. Results without any score don't count.
    """
    judges: dict[str, set[str]] = {}
    for result in results:
        if result.score is not None:
            judges.setdefault(result.evaluation, set()).add(result.judge)
    for evaluation, names in judges.items():
        if len(names) > 1:
            raise JudgeMismatch(evaluation, sorted(names))


def results_table(results: Iterable[EvaluationResult]) -> pd.DataFrame:
    """One row for each result, with exactly `COLUMNS`."""
    rows = [[getattr(result, column) for column in COLUMNS] for result in results]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write_results_csv(results: Iterable[EvaluationResult], path: Path) -> Path:
    """Write `results_table` as CSV; a missing score is an empty field."""
    write_atomically(path, results_table(results).to_csv(index=False, lineterminator="\n").encode())
    return path


def _lines(records: Sequence[msgspec.Struct]) -> bytes:
    return b"".join(msgspec.json.encode(record) + b"\n" for record in records)


def _read(path: Path, kind: type[T]) -> list[T]:
    decoder = msgspec.json.Decoder(kind)
    records = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            records.append(decoder.decode(line))
        except msgspec.DecodeError as error:
            raise ValueError(f"{path}, line {number}: not a valid {kind.__name__} ({error})") from error
    return records
