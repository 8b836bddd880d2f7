"""Weight sync: every engine of the fleet gets the learner's weights, and serves them only once verified.

The learner and each engine are processes of their own; this module drives both through protocols and never
touches a tensor. One sync to version v goes:

    for each engine      fleet.hold            its answers wait for the verdict
    for each engine      pause                 requests in flight freeze; caches of the old weights are dropped
    if the fleet changed sender.connect  ||  engine.connect     a new group is formed (fresh port)
    all together         sender.send     ||  engine.receive     one broadcast; each side returns a checksum
    for each engine      checksums equal?  resume, then score the probe: equal to the learner's?
    for each engine      fleet.release, or fleet.quarantine with the reason

`||` marks calls that block on each other, so both must be under way at once. An engine that fails before the
broadcast is left out of the group. When the broadcast itself breaks off, one cannot tell from outside whose
fault it was, so each remaining engine is then sent the weights alone: only the one at fault fails again.

An engine's answers carry version v from the moment that its weights change, before it is verified: a stamp
says what produced a token. It is the fleet that keeps unverified answers back.
"""

import asyncio
import random
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from rollout.config import SyncConfig
from rollout.engine import DeadlineExceeded

Result = TypeVar("Result")


class TransferGroup(msgspec.Struct, frozen=True, kw_only=True):
    """Where and how a member joins the group of a transfer."""

    address: str
    port: int
    world_size: int
    """The sender and all workers of all engines."""
    rank: int
    """0 is the sender; an engine's first worker has this rank, its others the following ones."""
    timeout_s: float
    """Bounds the forming of the group and each broadcast."""


class TransferManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What will be sent, in order. Three lists of one length."""

    names: tuple[str, ...]
    dtype_names: tuple[str, ...]
    """As torch names them: "bfloat16"."""
    shapes: tuple[tuple[int, ...], ...]


class WeightSyncError(RuntimeError):
    """An engine's part of a sync failed: it may hold any weights and must not serve."""

    def __init__(self, engine: str, version: int, cause: str) -> None:
        super().__init__(engine, version, cause)
        self.engine, self.version, self.cause = engine, version, cause

    def __str__(self) -> str:
        return f"engine {self.engine} was not brought to weight version {self.version}: {self.cause}"


class SenderLost(RuntimeError):
    """The learner's side is gone. No engine is to blame, and the sync ends."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause

    def __str__(self) -> str:
        return f"the learner was lost during a weight sync: {self.cause}"


class Sender(Protocol):
    """The learner, all ranks together. Every method raises `SenderLost` when the learner is gone."""

    async def rendezvous(self) -> tuple[str, int]:
        """An address of rank 0 that engines can reach, and a free port there."""
        ...

    async def manifest(self) -> TransferManifest:
        """What `send` will send."""
        ...

    async def connect(self, group: TransferGroup) -> None:
        """Form the group; returns when all members have joined."""
        ...

    async def send(self, version: int) -> int:
        """Send the weights of `version` to the group; the checksum of what was sent."""
        ...

    async def logprobs(self, token_ids: Sequence[int]) -> list[float]:
        """Log-probability (nats) of each token but the first, given those before it, at temperature 1."""
        ...


class Receiver(Protocol):
    """An engine, as the sync sees it."""

    async def pause(self) -> None:
        """Freeze requests in flight and drop what was cached under the old weights."""
        ...

    async def connect(self, group: TransferGroup) -> None:
        """Form the group; returns when all members have joined."""
        ...

    async def receive(self, manifest: TransferManifest, version: int) -> int:
        """Receive and load the weights of `version`; the checksum of what arrived."""
        ...

    async def resume(self) -> None:
        """Go on with requests in flight."""
        ...

    async def score(self, token_ids: Sequence[int]) -> list[float]:
        """Log-probability (nats) of each token but the first, given those before it, at temperature 1."""
        ...


class FleetGate(Protocol):
    """The verbs of the fleet that a sync needs."""

    def hold(self, name: str) -> None:
        """Keep the engine's answers back and send it nothing."""
        ...

    def release(self, name: str) -> None:
        """The engine is verified: let its answers go."""
        ...

    def quarantine(self, name: str, reason: str) -> None:
        """The engine is not to be trusted: discard its answers."""
        ...


class SyncReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one sync did."""

    version: int
    verified: tuple[str, ...]
    """Engines that now serve this version."""
    failed: dict[str, str]
    """Engines that were quarantined, with the reason."""
    parity: dict[str, float]
    """For each engine that was probed, the largest |log-probability difference| to the learner, nats."""
    seconds: float


class WeightSync:
    """Brings engines to the learner's weights and verifies them. One sync at a time.

    Args:
        sender: The learner.
        fleet: The fleet whose engines these are.
        config: Tolerance and deadline.
        probe: Token ids of the parity check, at least 2; text that the model could meet is best.
        workers_per_engine: Processes of one engine that take part (its tensor-parallel size).
    """

    def __init__(
        self,
        sender: Sender,
        fleet: FleetGate,
        config: SyncConfig,
        probe: Sequence[int],
        workers_per_engine: int = 1,
    ) -> None:
        if len(probe) < 2:
            raise ValueError(f"the parity probe needs at least 2 tokens, got {len(probe)}")
        self._sender, self._fleet, self._config = sender, fleet, config
        self._probe, self._workers = list(probe), workers_per_engine
        self._engines: dict[str, Receiver] = {}
        self._group: tuple[str, ...] = ()
        self._lock = asyncio.Lock()

    def attach(self, name: str, engine: Receiver) -> None:
        """Take an engine into the following syncs. A name attached before now means this engine."""
        self.detach(name)
        self._engines[name] = engine

    def detach(self, name: str) -> None:
        """Leave an engine out of the following syncs."""
        self._engines.pop(name, None)
        if name in self._group:
            self._group = ()

    @property
    def engines(self) -> tuple[str, ...]:
        """Names of the engines that the next sync is for."""
        return tuple(self._engines)

    async def sync(self, version: int) -> SyncReport:
        """Bring all attached engines to `version`. Those that fail are quarantined and detached.

        Raises:
            SenderLost: the learner is gone; all engines stay held.
        """
        async with self._lock:
            names = list(self._engines)
            for name in names:
                self._fleet.hold(name)
            report = await self._bring(names, version)
            for name in report.verified:
                self._fleet.release(name)
            for name, reason in report.failed.items():
                self._fleet.quarantine(name, reason)
            return report

    async def catch_up(self, name: str, engine: Receiver, version: int) -> SyncReport:
        """Bring a new engine to `version`, the learner's present one, and attach it. The fleet is not told.

        Raises:
            WeightSyncError: the engine could not be verified; it is not attached.
            SenderLost: the learner is gone.
        """
        async with self._lock:
            self.attach(name, engine)
            report = await self._bring([name], version)
        if report.failed:
            raise WeightSyncError(name, version, report.failed[name])
        return report

    async def _bring(self, names: Sequence[str], version: int) -> SyncReport:
        attempt = _Attempt(version, self._config.timeout_s)
        await self._each(attempt, names, "pause", lambda name: self._engines[name].pause())
        sums = await self._transfer(attempt, attempt.sound(names))
        await self._verify(attempt, sums)
        for name in attempt.failed:
            self.detach(name)
        return attempt.report(names)

    async def _transfer(self, attempt: "_Attempt", names: Sequence[str]) -> dict[str, tuple[int, int]]:
        """Send to all at once; if that breaks off, to each alone. For each engine: (sent, arrived)."""
        if not names:
            return {}
        manifest = await self._ask_sender(attempt, "manifest", self._sender.manifest())
        together = attempt.trial()
        sums = await self._broadcast(together, names, manifest)
        if len(sums) == len(names):
            return sums
        for name in names:
            sums |= await self._broadcast(attempt, [name], manifest) if name not in sums else {}
        return sums

    async def _broadcast(
        self, attempt: "_Attempt", names: Sequence[str], manifest: TransferManifest
    ) -> dict[str, tuple[int, int]]:
        """One broadcast to one group; the sums of those engines for which it succeeded."""
        try:
            await self._form_group(attempt, names)
            send = self._ask_sender(attempt, "send", self._sender.send(attempt.version))
            arrive = self._each(
                attempt, names, "receive", lambda name: self._engines[name].receive(manifest, attempt.version)
            )
            sent, arrived = await _both(send, arrive)
        except TransferFailed as error:
            self._group = ()
            attempt.blame(names, str(error))
            return {}
        if len(arrived) < len(names):
            self._group = ()
        return {name: (sent, total) for name, total in arrived.items()}

    async def _form_group(self, attempt: "_Attempt", names: Sequence[str]) -> None:
        if self._group == tuple(names):
            return
        self._group = ()
        address, port = await self._ask_sender(attempt, "rendezvous", self._sender.rendezvous())
        world_size = 1 + len(names) * self._workers

        def member(rank: int) -> TransferGroup:
            return TransferGroup(
                address=address, port=port, world_size=world_size, rank=rank, timeout_s=0.8 * attempt.call_s
            )

        ranks = {name: 1 + index * self._workers for index, name in enumerate(names)}
        connect = self._ask_sender(attempt, "connect", self._sender.connect(member(0)))
        join = self._each(attempt, names, "connect", lambda name: self._engines[name].connect(member(ranks[name])))
        _, joined = await _both(connect, join)
        if len(joined) < len(names):
            raise TransferFailed("an engine did not join the group")
        self._group = tuple(names)
