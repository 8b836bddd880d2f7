"""The ledger: what became of every attempt of every slot, one JSON line each, nothing ever deleted.

An attempt is written twice: when it is dispatched, and when it is trained, filtered or failed. A resume
from the checkpoint of step k goes back to slot k * groups_per_step: one `Superseded` line says that
everything written before it about that slot and later ones no longer counts. What counts must then add
up, and `Ledger.audit` says whether it does.

Example:
    >>> with Ledger.create(run / "ledger.jsonl", groups_per_step=32) as ledger:
    ...     ledger.append(dispatched_entry(slot))
    ...     ledger.append(graded_entry(graded, Outcome.TRAINED, step=1))
    ...     ledger.audit(steps=1)
"""

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from rollout.ledger_audit import Audit, LedgerError, LedgerSummary, audit_ledger, is_torn, read_ledger, summarize
from rollout.ledger_entry import LedgerEntry, Outcome, Superseded, dispatched_entry, failed_entry, graded_entry

__all__ = [
    "Audit",
    "Ledger",
    "LedgerEntry",
    "LedgerError",
    "LedgerSummary",
    "Outcome",
    "Superseded",
    "audit_ledger",
    "dispatched_entry",
    "failed_entry",
    "graded_entry",
    "read_ledger",
    "summarize",
]


class Ledger:
    """The ledger of one run, open for appending. Make it with `create` or `reopen`; one writer at a time."""

    def __init__(self, path: Path, groups_per_step: int) -> None:
        self.path = path
        self.groups_per_step = groups_per_step
        self._file = path.open("ab")

    @classmethod
    def create(cls, path: str | Path, groups_per_step: int) -> Self:
        """Start the ledger of a new run.

        Raises:
            ValueError: there is a ledger already.
        """
        if Path(path).exists():
            raise ValueError(f"{path} exists already: resume that run, or choose another name for the new one")
        return cls(Path(path), groups_per_step)

    @classmethod
    def reopen(cls, path: str | Path, groups_per_step: int, trained_steps: int) -> Self:
        """Continue the ledger of a run that resumes from its checkpoint of `trained_steps` optimizer steps.

        Everything about later slots is superseded by a line of its own. A last line that was cut off stays,
        on a line of its own, and is passed over by every reader.

        Raises:
            LedgerError: the file is damaged elsewhere, or does not hold the training of the steps resumed from.
        """
        ledger = cls(Path(path), groups_per_step)
        try:
            ledger._supersede(trained_steps)
            ledger.audit(trained_steps)
        except LedgerError:
            ledger.close()
            raise
        return ledger

    def _supersede(self, trained_steps: int) -> None:
        first_slot = trained_steps * self.groups_per_step
        late = {(entry.slot, entry.attempt) for entry in self.entries() if entry.slot >= first_slot}
        torn = is_torn(self.path)
        if late or torn:
            marker = Superseded(first_slot=first_slot, trained_steps=trained_steps, num_attempts=len(late), torn=torn)
            self._write((b"\n" if torn else b"") + msgspec.json.encode(marker) + b"\n")

    def append(self, entry: LedgerEntry) -> None:
        """Write an entry; it is with the operating system, safe from the death of this process, on return."""
        self._write(msgspec.json.encode(entry) + b"\n")

    def sync(self) -> None:
        """Wait until everything written is on disk: call it before a checkpoint that relies on it."""
        os.fsync(self._file.fileno())

    def entries(self) -> Iterator[LedgerEntry]:
        """Yield the entries that count."""
        return read_ledger(self.path)

    def audit(self, steps: int) -> Audit:
        """Check the ledger after `steps` optimizer steps (see `audit_ledger`)."""
        return audit_ledger(self.path, self.groups_per_step, steps)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()
