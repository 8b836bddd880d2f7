"""A circuit breaker: a judge that has stopped answering is asked rarely until it answers again."""

import asyncio
import time
from collections.abc import Callable


class Breaker:
    """Opens after `threshold` calls in a row without an answer; then one probe passes every `pause_s`.

    While it is open, calls wait instead of failing, so that an outage slows a run down and does not
    burn its prompts; each caller's own deadline ends the wait.
    """

    def __init__(self, threshold: int = 32, pause_s: float = 2.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._threshold = threshold
        self._pause_s = pause_s
        self._clock = clock
        self._failures = 0
        self._next_probe = 0.0

    @property
    def is_open(self) -> bool:
        """True while only probes pass."""
        return self._failures >= self._threshold

    def record(self, *, answered: bool) -> None:
        """Count one call's end; any answer closes the breaker."""
        was_open = self.is_open
        self._failures = 0 if answered else self._failures + 1
        if self.is_open and not was_open:
            self._next_probe = self._clock() + self._pause_s

    def admits(self) -> bool:
        """Whether a call may go now. While open, True once in every `pause_s`: that call is the probe."""
        if not self.is_open:
            return True
        if self._clock() < self._next_probe:
            return False
        self._next_probe = self._clock() + self._pause_s
        return True

    async def wait(self) -> None:
        """Return when a call may go."""
        while not self.admits():
            await asyncio.sleep(self._pause_s / 4)
