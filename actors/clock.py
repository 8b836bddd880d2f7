"""Where the time goes: seconds during which at least one thing of a phase was under way."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class BusyClock:
    """Counts, for each phase, the wall seconds in which it was busy. Overlaps within a phase count once."""

    def __init__(self) -> None:
        self._users: dict[str, int] = {}
        self._since: dict[str, float] = {}
        self._total: dict[str, float] = {}

    @contextmanager
    def busy(self, phase: str) -> Iterator[None]:
        """Count the time of the block towards `phase`."""
        if self._users.get(phase, 0) == 0:
            self._since[phase] = time.monotonic()
        self._users[phase] = self._users.get(phase, 0) + 1
        try:
            yield
        finally:
            self._users[phase] -= 1
            if self._users[phase] == 0:
                self._add(phase)

    def take(self) -> dict[str, float]:
        """Seconds by phase since the last call."""
        for phase, users in self._users.items():
            if users:
                self._add(phase)
                self._since[phase] = time.monotonic()
        total, self._total = self._total, {}
        return total

    def _add(self, phase: str) -> None:
        elapsed = time.monotonic() - self._since[phase]
        self._total[phase] = self._total.get(phase, 0.0) + elapsed
