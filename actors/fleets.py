"""Keeps a fleet of engine actors alive: starts them, replaces the dead, and takes in replacements.

A death is found by a failed request, a failed health check or a failed weight sync. The engine leaves
the fleet at once, its requests go elsewhere, and `watch` starts another in its place and has it
`admit`ted: a grader engine serves as soon as it is up, a rollout engine once it was brought to the
learner's weights and verified.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol, TypeVar

from actors.tasks import task_group
from rollout.engine import DeadlineExceeded, EngineDied, Generator
from rollout.fleet import Fleet
from rollout.weight_sync import WeightSyncError

HEALTH_INTERVAL_S = 30.0
"""Seconds between health checks of an engine."""


class ManagedEngine(Generator, Protocol):
    """An engine actor as its keeper sees it."""

    name: str

    async def start(self, deadline_s: float) -> None:
        """Load the model."""
        ...

    async def health(self) -> None:
        """Return if the engine lives."""
        ...

    async def stop(self) -> None:
        """End the engine, alive or dead."""
        ...


Engine = TypeVar("Engine", bound=ManagedEngine)


class FleetExhausted(RuntimeError):
    """Engines keep dying: replacing them further would only hide the cause."""


class EngineKeeper(Generic[Engine]):
    """The engines of one fleet by name, and the fleet that routes to them."""

    def __init__(
        self,
        names: tuple[str, ...],
        spawn: Callable[[str], Engine],
        max_concurrent: int,
        start_timeout_s: float,
        note: Callable[[str], None],
        max_replacements: int = 3,
    ) -> None:
        """`spawn(name)` makes the actor, which then loads its model; `note` tells the user of deaths."""
        self.names, self._spawn, self._note = names, spawn, note
        self._max_concurrent, self._start_timeout_s = max_concurrent, start_timeout_s
        self._max_replacements = max_replacements
        self.engines: dict[str, Engine] = {}
        self.fleet = Fleet(on_death=self.report_death)
        self.num_starts = 0
        self.admit: Callable[[str, Engine], Awaitable[None]] = self._admit_at_once
        self.on_loss: Callable[[str], None] = lambda name: None
        self._deaths: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
        self._replacing: set[str] = set()
        self._num_replaced: dict[str, int] = {}

    async def start(self) -> None:
        """Start all engines together and let them serve."""
        await asyncio.gather(*(self._start(name) for name in self.names))
        for name, engine in self.engines.items():
            self.add(name, engine, version=0)

    def add(self, name: str, engine: Engine, version: int) -> None:
        """Let an engine serve, which is known to hold weights of `version`."""
        self.fleet.add(name, engine, self._max_concurrent, version)
        self._replacing.discard(name)  # from now on a report of its death is news

    def report_death(self, name: str, cause: str) -> None:
        """Take an engine out and have it replaced; further reports of the same death change nothing."""
        if name in self._replacing or name not in self.engines:
            return
        self._replacing.add(name)
        if name in self.fleet.states():
            self.fleet.remove(name, cause)
        self.on_loss(name)
        self._deaths.put_nowait((name, cause))

    async def watch(self) -> None:
        """Replace the dead until cancelled.

        Raises:
            FleetExhausted: an engine died more often than `max_replacements`.
        """
        async with task_group() as group:
            group.create_task(self._check_health(), name="health checks")
            while True:
                name, cause = await self._deaths.get()
                self._note(f"{name} is replaced: {cause}")
                group.create_task(self._replace(name, cause), name=f"replace {name}")

    async def stop(self) -> None:
        """End all engines."""
        await asyncio.gather(*(engine.stop() for engine in self.engines.values()))

    async def _start(self, name: str) -> Engine:
        engine = self._spawn(name)
        self.engines[name] = engine
        self.num_starts += 1
        await engine.start(self._start_timeout_s)
        return engine

    async def _replace(self, name: str, cause: str) -> None:
        while True:
            self._count_replacement(name, cause)
            await self.engines[name].stop()
            try:
                engine = await self._start(name)
                await self.admit(name, engine)
                break
            except (EngineDied, DeadlineExceeded, WeightSyncError) as error:
                cause = str(error)
        self._note(f"{name} is back")

    def _count_replacement(self, name: str, cause: str) -> None:
        self._num_replaced[name] = self._num_replaced.get(name, 0) + 1
        if self._num_replaced[name] > self._max_replacements:
            raise FleetExhausted(
                f"{name} was lost {self._num_replaced[name]} times, the last time because: {cause}. "
                "Look at its log in the Ray dashboard; resume once the cause is mended."
            )

    async def _check_health(self) -> None:
        while True:
            await asyncio.sleep(HEALTH_INTERVAL_S)
            for name, engine in list(self.engines.items()):
                if name in self._replacing:
                    continue
                try:
                    await engine.health()
                except (EngineDied, DeadlineExceeded) as error:
                    if self.engines[name] is engine:  # else it was replaced before it answered
                        self.report_death(name, str(error))

    async def _admit_at_once(self, name: str, engine: Engine) -> None:
        """An engine whose weights never change serves as soon as it is up."""
        self.add(name, engine, version=0)
