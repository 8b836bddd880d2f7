"""Checkpoints: complete or absent, and named by their content.

    step-000050/
        weights/            Hugging Face folder: safetensors, config, tokenizer (adapters merged in)
        state/              DeepSpeed's files, one a rank; absent where training cannot resume from here
        client_state.json   what the controller wants back on resume
        manifest.json       a `Manifest`

A checkpoint is written under a hidden name, flushed to disk, and renamed last, so a folder with the
right name is complete. Nothing here needs torch.

Trust: safetensors and JSON are data. DeepSpeed's state files are pickles; they are the run's own,
and are read back with torch's restricted unpickler (see `learner.state`).
"""

import hashlib
import os
import shutil
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

WEIGHTS, STATE, CLIENT_STATE, MANIFEST = "weights", "state", "client_state.json", "manifest.json"

_VERSIONED = ("torch", "transformers", "deepspeed", "openrlhf", "peft")
_READ_BYTES = 1 << 20


class CheckpointError(RuntimeError):
    """A checkpoint is not there, not complete, or not what its manifest says."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint is, and how to tell that it is that."""

    step: int
    """Optimizer steps done: the policy version of the weights."""
    weights_hash: str
    """SHA-256 over the safetensors files, names included: the checkpoint's name everywhere else."""
    probe_token_ids: tuple[int, ...]
    """N tokens on which an engine that loads the weights can be compared with the learner."""
    probe_logprobs: tuple[float, ...]
    """N - 1 log-probabilities (nats, temperature 1) of the second to the last of these tokens."""
    run: str
    arm: str
    seed: int
    num_ranks: int
    """Ranks whose state is in `state/`; training resumes with the same number."""
    zero_stage: int
    dtype: str
    lora_rank: int
    created: str
    """UTC, ISO 8601."""
    versions: dict[str, str]
    """Of the packages that wrote the checkpoint."""


def package_versions() -> dict[str, str]:
    """Versions of the packages that a checkpoint depends on, where installed."""
    found = {}
    for package in _VERSIONED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def now() -> str:
    """The time in UTC, as manifests give it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def content_hash(weights: Path) -> str:
    """SHA-256 over the safetensors files of a folder, in the order of their names.

    Raises:
        CheckpointError: there are none.
    """
    files = sorted(weights.glob("*.safetensors"))
    if not files:
        raise CheckpointError(f"{weights} has no safetensors files")
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}:{file.stat().st_size}:".encode())
        with file.open("rb") as stream:
            while block := stream.read(_READ_BYTES):
                digest.update(block)
    return digest.hexdigest()


def partial_path(path: Path) -> Path:
    """Where a checkpoint is written before it is complete."""
    return path.with_name(f".{path.name}.partial")


def begin(path: Path) -> Path:
    """Make an empty folder to write a checkpoint into; what a crash left there is removed."""
    partial = partial_path(path)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    return partial


def publish(path: Path, manifest: Manifest, client_state: dict[str, Any]) -> None:
    """Complete the checkpoint that was begun for `path`: flush everything to disk, then rename.

    A checkpoint that is already there is replaced.
    """
    partial = partial_path(path)
    (partial / CLIENT_STATE).write_bytes(msgspec.json.encode(client_state))
    (partial / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest)))
    for item in [*partial.rglob("*"), partial]:
        _flush(item)
    _remove(path)
    os.rename(partial, path)
    _flush(path.parent)


def load_manifest(path: Path, verify: bool = True) -> Manifest:
    """Read a checkpoint's manifest; `verify` compares the weights with their hash.

    Raises:
        CheckpointError: no such checkpoint, an unreadable manifest, or other weights than it names.
    """
    try:
        manifest = msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise CheckpointError(f"{path} is not a complete checkpoint: {error}") from error
    if verify and (found := content_hash(path / WEIGHTS)) != manifest.weights_hash:
        raise CheckpointError(
            f"the weights in {path} hash to {found[:12]}, its manifest says {manifest.weights_hash[:12]}: "
            "the files were changed or damaged; resume from another checkpoint"
        )
    return manifest


def load_client_state(path: Path) -> dict[str, Any]:
    """What was given to `publish` as client state."""
    return msgspec.json.decode((path / CLIENT_STATE).read_bytes(), type=dict[str, Any])


def is_resumable(path: Path) -> bool:
    """True when the optimizer's state is still there."""
    return (path / MANIFEST).is_file() and (path / STATE).is_dir()


def drop_state(path: Path) -> None:
    """Remove the optimizer's state and keep the weights."""
    _remove(path / STATE)


def _remove(path: Path) -> None:
    """Remove a folder in one visible instant: a half-removed one must not look complete."""
    if not path.exists():
        return
    doomed = path.with_name(f".{path.name}.removed")
    shutil.rmtree(doomed, ignore_errors=True)
    os.rename(path, doomed)
    shutil.rmtree(doomed)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
