"""Brings the learner's weights to the rollout fleet during one run, and to every replacement engine.

Ties three things together that don't know each other: the weight sync, the fleet that it holds and
releases, and the keeper that replaces what fails. The learner's lock keeps a replacement from being
sent weights while an optimizer step changes them.
"""

import asyncio
from collections.abc import Callable

from actors.fleets import EngineKeeper
from actors.handles import RemoteEngine, RemoteLearner
from rollout.config import SyncConfig
from rollout.weight_sync import SyncReport, WeightSync


class Publisher:
    """One run's weight sync. Make it after the keeper has started; `close` before the next run."""

    def __init__(
        self,
        learner: RemoteLearner,
        keeper: EngineKeeper[RemoteEngine],
        config: SyncConfig,
        probe: tuple[int, ...],
        workers_per_engine: int,
        learner_lock: asyncio.Lock,
        note: Callable[[str], None],
    ) -> None:
        """`probe` are token ids (at least 2) for the parity check; `learner_lock` guards the learner's weights."""
        self._keeper, self._lock, self._note = keeper, learner_lock, note
        self._sync = WeightSync(learner, keeper.fleet, config, probe, workers_per_engine)
        self._version = 0
        self.last: SyncReport | None = None
        for name, engine in keeper.engines.items():
            self._sync.attach(name, engine)
        self._admit_before, self._on_loss_before = keeper.admit, keeper.on_loss
        self._is_closed = False
        keeper.admit, keeper.on_loss = self._admit, self._sync.detach

    async def publish(self, version: int) -> None:
        """Bring every engine to `version`, verified. The caller holds the learner's lock."""
        self._version = version
        self.last = await self._sync.sync(version)
        for name, reason in self.last.failed.items():
            self._keeper.report_death(name, f"weight sync: {reason}")

    async def close(self) -> None:
        """Give the keeper back, once nobody is being sent weights: the learner may then end.

        An engine that is replaced later serves the weights that it starts with, until the next run's first sync.
        """
        async with self._lock:
            self._is_closed = True
            self._keeper.admit, self._keeper.on_loss = self._admit_before, self._on_loss_before

    def metrics(self) -> dict[str, float]:
        """Figures of the last sync."""
        if self.last is None:
            return {}
        return {"sync_seconds": self.last.seconds, "parity": max(self.last.parity.values(), default=0.0)}

    async def _admit(self, name: str, engine: RemoteEngine) -> None:
        async with self._lock:
            if self._is_closed:  # the run ended while this engine waited
                return await self._keeper.admit(name, engine)
            version = self._version
            await self._sync.catch_up(name, engine, version, admit=lambda: self._keeper.add(name, engine, version))
        return None
