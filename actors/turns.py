"""Taking turns on one GPU: rollout, grading, evaluation and training each need all of its memory.

A *party* holds the card while any of its users does; when the last one leaves, a waiting party gets
the card: the old party is put to sleep (vLLM frees its memory), the new one is woken. A party that
holds the card admits its own newcomers at once, so refills of a batch do not force extra switches.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from rollout.engine import Generator
from rollout.types import GenerateRequest, GenerateResult

Switch = Callable[[], Awaitable[None]]
Turn = Callable[[str], AbstractAsyncContextManager[None]]
"""Gives a context in which a party, by name, may use the card."""


def no_turns(party: str) -> AbstractAsyncContextManager[None]:
    """Every actor has a card of its own: nobody waits."""
    return nullcontext()


class Turns:
    """An asynchronous lock shared inside a party and exclusive between parties."""

    def __init__(self, wake: Mapping[str, Switch], sleep: Mapping[str, Switch]) -> None:
        """`wake` and `sleep` map a party's name to what must run when it gains or loses the card."""
        self._wake, self._sleep = wake, sleep
        self._party = ""
        self._users = 0
        self._changed = asyncio.Condition()
        self.num_switches = 0

    @asynccontextmanager
    async def hold(self, party: str) -> AsyncIterator[None]:
        """Use the card as `party`; waits while another party uses it."""
        await self._enter(party)
        try:
            yield
        finally:
            async with self._changed:
                self._users -= 1
                self._changed.notify_all()

    async def _enter(self, party: str) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: self._users == 0 or self._party == party)
            if self._party != party:
                await self._switch(party)
            self._users += 1

    async def _switch(self, party: str) -> None:
        # Nobody has the card until the switch is complete: if it fails half-way, the next party is woken anew.
        last, self._party = self._party, ""
        if last in self._sleep:
            await self._sleep[last]()
        if party in self._wake:
            await self._wake[party]()
        self._party, self.num_switches = party, self.num_switches + 1


class TurnTaking:
    """A generator whose requests run only while its party holds the card."""

    def __init__(self, generator: Generator, turn: Turn, party: str) -> None:
        self._generator, self._turn, self._party = generator, turn, party

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        """Sample continuations in the party's turn."""
        async with self._turn(self._party):
            return await self._generator.generate(request)
