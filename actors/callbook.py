"""The remote calls that have not answered yet, so that whoever is stuck can be named while it is stuck."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec


class OpenCall(msgspec.Struct, frozen=True, kw_only=True):
    """A remote call that has not answered yet."""

    actor: str
    method: str
    what: str
    since: float
    """Monotonic seconds."""


class CallBook:
    """The open remote calls, so that a watchdog can say what everyone is waiting for."""

    def __init__(self) -> None:
        self._open: dict[int, OpenCall] = {}
        self._next = 0

    @contextmanager
    def entry(self, actor: str, method: str, what: str) -> Iterator[None]:
        """Keep a call in the book while it runs."""
        key, self._next = self._next, self._next + 1
        self._open[key] = OpenCall(actor=actor, method=method, what=what, since=time.monotonic())
        try:
            yield
        finally:
            del self._open[key]

    def oldest(self, longer_than_s: float) -> OpenCall | None:
        """The call that has been open longest, if longer than this."""
        call = min(self._open.values(), key=lambda entry: entry.since, default=None)
        if call is None or time.monotonic() - call.since < longer_than_s:
            return None
        return call


CALLS = CallBook()
"""The book of this process."""
