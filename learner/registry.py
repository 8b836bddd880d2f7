"""Which checkpoints a run has.

Example:
    >>> registry = CheckpointRegistry(Path("runs/demo/baseline-seed0"))
    >>> registry.path(50)
    PosixPath('runs/demo/baseline-seed0/checkpoints/step-000050')
"""

from pathlib import Path
from typing import NamedTuple

from learner.checkpoint import MANIFEST, Manifest, drop_state, is_resumable, load_manifest


class Checkpoint(NamedTuple):
    """A complete checkpoint."""

    path: Path
    manifest: Manifest

    @property
    def resumable(self) -> bool:
        """True when training can go on from here."""
        return is_resumable(self.path)


class CheckpointRegistry:
    """The checkpoints under a run's folder. It reads the disk each time: there is no second record to disagree."""

    def __init__(self, run_dir: Path) -> None:
        self.folder = run_dir / "checkpoints"

    def path(self, step: int) -> Path:
        """Folder of the checkpoint after `step` optimizer steps."""
        return self.folder / f"step-{step:06d}"

    def list(self) -> list[Checkpoint]:
        """Complete checkpoints, oldest first. Weights are not read; `load_manifest` verifies them."""
        folders = [path for path in self.folder.glob("step-*") if (path / MANIFEST).is_file()]
        found = [Checkpoint(path, load_manifest(path, verify=False)) for path in folders]
        return sorted(found, key=lambda checkpoint: checkpoint.manifest.step)

    def latest_resumable(self) -> Checkpoint | None:
        """The newest checkpoint that training can go on from, or None."""
        resumable = [checkpoint for checkpoint in self.list() if checkpoint.resumable]
        return resumable[-1] if resumable else None

    def prune(self, keep: int) -> None:
        """Remove the optimizer's state of all but the newest `keep` resumable checkpoints; weights stay.

        Raises:
            ValueError: keep is less than 1, which would leave nothing to resume from.
        """
        if keep < 1:
            raise ValueError(f"at least one resumable checkpoint must be kept, got keep={keep}")
        resumable = [checkpoint for checkpoint in self.list() if checkpoint.resumable]
        for checkpoint in resumable[:-keep]:
            drop_state(checkpoint.path)
