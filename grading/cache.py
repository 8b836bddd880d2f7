"""The verdict cache: no question is put to the same judge twice.

Policies repeat themselves, above all once they have learned something, and evaluations ask the same
of every checkpoint. A verdict is found again by what was asked and who was asked. Only findings are
kept: an ungraded verdict is a failure of the moment and deserves another try.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import msgspec

from grading.types import Verdict, VerdictStatus


class Judgement(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict and what it cost."""

    verdict: Verdict
    judge_tokens: int = 0
    """Prompt and completion tokens of all tries; 0 when the verdict came from the cache."""


def verdict_key(judge: str, template: str, rendered: str) -> bytes:
    """What tells one verdict from another: the judge with its revision, the template, the whole prompt."""
    parts = (part.encode("utf-8", "surrogatepass") for part in (judge, template, rendered))
    return hashlib.sha256(b"".join(len(part).to_bytes(8) + part for part in parts)).digest()


class VerdictCache:
    """Keeps the verdicts used last, and lets identical questions under way share one answer."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[bytes, Verdict] = OrderedDict()
        self._flights: dict[bytes, asyncio.Task[Judgement]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    async def get(self, key: bytes, ask: Callable[[], Coroutine[Any, Any, Judgement]]) -> Judgement:
        """The kept verdict, or the one under way, or else what `ask` finds. Size 0 always asks.

        A caller that is cancelled does not take the shared question with it: others wait for it,
        and its answer is kept.
        """
        if not self._size:
            return await ask()
        if key in self._kept:
            self._kept.move_to_end(key)
            return Judgement(verdict=self._kept[key])
        flight = self._flights.get(key)
        if flight is not None:
            return _shared(await asyncio.shield(flight))
        return await asyncio.shield(self._start(key, ask))

    def _start(self, key: bytes, ask: Callable[[], Coroutine[Any, Any, Judgement]]) -> asyncio.Task[Judgement]:
        flight = asyncio.create_task(ask())
        self._flights[key] = flight
        flight.add_done_callback(partial(self._land, key))
        return flight

    def _land(self, key: bytes, flight: asyncio.Task[Judgement]) -> None:
        del self._flights[key]
        if flight.cancelled() or flight.exception() is not None:
            return
        verdict = flight.result().verdict
        if verdict.status is not VerdictStatus.UNGRADED:
            self._kept[key] = msgspec.structs.replace(verdict, cached=True)
            while len(self._kept) > self._size:
                self._kept.popitem(last=False)


def _shared(judgement: Judgement) -> Judgement:
    """The same verdict for a caller that did not pay for it."""
    is_finding = judgement.verdict.status is not VerdictStatus.UNGRADED
    return Judgement(verdict=msgspec.structs.replace(judgement.verdict, cached=is_finding))
