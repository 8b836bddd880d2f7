"""Weight sync: every engine of the fleet gets the learner's weights, and serves them only once verified.

The learner and each engine are processes of their own; this module drives both through protocols and never
touches a tensor. One sync to version v goes:

    for each engine      fleet.hold            its answers wait for the verdict
    for each engine      pause                 requests in flight freeze; caches of the old weights are dropped
    if the fleet changed sender.connect  ||  engine.connect     a new group is formed (fresh port)
    all together         sender.send     ||  engine.receive     one broadcast; each side returns a checksum
    for each engine      checksums equal?  resume, then score the probe: equal to the learner's?
    for each engine      fleet.release, or fleet.quarantine with the reason (to be replaced, see `catch_up`)

`||` marks calls that block on each other, so both must be under way at once. An engine that fails before the
broadcast is left out of the group. When the broadcast itself breaks off, one cannot tell from outside whose
fault it was, so each remaining engine is then sent the weights alone: only the one at fault fails again.

An engine's answers carry version v from the moment that its weights change, before it is verified: a stamp
says what produced a token. It is the fleet that keeps unverified answers back.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from rollout.config import SyncConfig
from rollout.engine import DeadlineExceeded
from rollout.fleet import EngineState


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
    """The verbs of `rollout.fleet.Fleet` that a sync needs."""

    def states(self) -> Mapping[str, EngineState]:
        """State of each engine that the fleet has now."""
        ...

    def hold(self, name: str) -> None:
        """Keep the engine's answers back and send it nothing."""
        ...

    def release(self, name: str, version: int | None = None) -> None:
        """The engine is verified to hold `version`: let its answers go."""
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


class _Outcome(NamedTuple):
    """What became of a call to several engines: each name is in exactly one of the two."""

    answers: dict[str, Any]
    causes: dict[str, str]


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
        self._deadline = 0.0

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
            names = self._hold()
            report = await self._bring(names, version)
            self._conclude(report)
            return report

    async def catch_up(self, name: str, engine: Receiver, version: int, admit: Callable[[], None]) -> SyncReport:
        """Bring a new engine to `version`, the learner's present one, attach it and call `admit`.

        `admit` adds the engine to the fleet, before a later sync can begin.

        Raises:
            WeightSyncError: the engine could not be verified; it is neither attached nor admitted.
            SenderLost: the learner is gone.
        """
        async with self._lock:
            self.attach(name, engine)
            report = await self._bring([name], version)
            if report.failed:
                raise WeightSyncError(name, version, report.failed[name])
            admit()
            return report

    def _hold(self) -> list[str]:
        """Hold the attached engines that the fleet still has; leave out those that died or were quarantined."""
        states = self._fleet.states()
        for name in list(self._engines):
            if states.get(name, EngineState.QUARANTINED) is EngineState.QUARANTINED:
                self.detach(name)
            else:
                self._fleet.hold(name)
        return list(self._engines)

    def _conclude(self, report: SyncReport) -> None:
        """Tell the fleet the verdicts on the engines that it still has."""
        present = self._fleet.states()
        for name in report.verified:
            if name in present:
                self._fleet.release(name, report.version)
        for name, reason in report.failed.items():
            if name in present:
                self._fleet.quarantine(name, reason)

    async def _bring(self, names: Sequence[str], version: int) -> SyncReport:
        started = time.monotonic()
        self._deadline = started + self._config.timeout_s
        what = f"weight version {version}"
        paused = await self._ask(names, "pause", what, lambda engine: engine.pause())
        moved = await self._transfer(list(paused.answers), version)
        probed = await self._verify(moved.answers, what)
        failed = paused.causes | moved.causes | probed.causes
        for name in failed:
            self.detach(name)
        return SyncReport(
            version=version,
            verified=tuple(name for name in names if name not in failed),
            failed=failed,
            parity=probed.answers,
            seconds=time.monotonic() - started,
        )

    async def _transfer(self, names: Sequence[str], version: int) -> _Outcome:
        """Send to all at once, then alone to those that it did not reach. Answers: (sent, arrived) checksums."""
        if not names:
            return _Outcome({}, {})
        manifest = await self._ask_sender("manifest", f"weight version {version}", self._sender.manifest())
        sums, causes = await self._broadcast(names, manifest, version)
        for name in list(causes) if len(names) > 1 else []:
            alone = await self._broadcast([name], manifest, version)
            sums |= alone.answers
            causes = {other: cause for other, cause in causes.items() if other != name} | alone.causes
        return _Outcome(sums, causes)

    async def _broadcast(self, names: Sequence[str], manifest: TransferManifest, version: int) -> _Outcome:
        what = f"weight version {version}"
        causes = await self._form_group(names, what)
        if causes:
            return _Outcome({}, causes)
        sent, arrived = await self._together(
            names, "send", "receive", what, self._sender.send(version), lambda engine: engine.receive(manifest, version)
        )
        if arrived.causes:
            self._group = ()
        return _Outcome({name: (sent, total) for name, total in arrived.answers.items()}, arrived.causes)

    async def _form_group(self, names: Sequence[str], what: str) -> dict[str, str]:
        """Form a group of exactly these engines, unless it is the present one; why it failed, by engine."""
        if self._group == tuple(names):
            return {}
        self._group = ()
        address, port = await self._ask_sender("rendezvous", what, self._sender.rendezvous())
        world_size, timeout_s = 1 + len(names) * self._workers, 0.8 * self._limit()
        first_rank = {name: 1 + index * self._workers for index, name in enumerate(names)}

        def member(rank: int) -> TransferGroup:
            return TransferGroup(address=address, port=port, world_size=world_size, rank=rank, timeout_s=timeout_s)

        connect = self._sender.connect(member(0))
        members = {self._engines[name]: member(rank) for name, rank in first_rank.items()}
        _, joined = await self._together(
            names, "connect", "connect", what, connect, lambda engine: engine.connect(members[engine])
        )
        if joined.causes:
            return {name: joined.causes.get(name, "another engine did not join the group") for name in names}
        self._group = tuple(names)
        return {}

    async def _verify(self, sums: dict[str, tuple[int, int]], what: str) -> _Outcome:
        """Compare checksums, then log-probabilities of the probe. Answers: the largest difference."""
        differ = {
            name: f"checksum of the weights that arrived is {arrived:#x}, of those sent {sent:#x}"
            for name, (sent, arrived) in sums.items()
            if sent != arrived
        }
        intact = [name for name in sums if name not in differ]
        if not intact:
            return _Outcome({}, differ)
        expected, probed = await asyncio.gather(
            self._ask_sender("logprobs", what, self._sender.logprobs(self._probe)),
            self._ask(intact, "score", what, self._resume_and_score),
        )
        parity = {name: largest_difference(expected, scores) for name, scores in probed.answers.items()}
        tolerance = self._config.parity_tolerance
        off = {
            name: f"log-probabilities differ from the learner's by {gap:.4g} nats, more than {tolerance:g}"
            for name, gap in parity.items()
            if gap > tolerance
        }
        return _Outcome(parity, differ | probed.causes | off)

    async def _resume_and_score(self, engine: Receiver) -> list[float]:
        await engine.resume()
        return await engine.score(self._probe)

    async def _together(
        self,
        names: Sequence[str],
        sender_call: str,
        engine_call: str,
        what: str,
        sending: Awaitable[Any],
        receiving: Callable[[Receiver], Awaitable[Any]],
    ) -> tuple[Any, _Outcome]:
        """Both sides of a collective call. A sender that fails makes the call fail for every engine."""
        sent, outcome = await asyncio.gather(
            self._bounded("learner", sender_call, what, sending),
            self._ask(names, engine_call, what, receiving),
            return_exceptions=True,
        )
        if isinstance(outcome, BaseException):
            raise outcome
        if not isinstance(sent, BaseException):
            return sent, outcome
        if isinstance(sent, SenderLost) or not isinstance(sent, Exception):
            raise sent
        return None, _Outcome({}, {name: outcome.causes.get(name, describe(sent)) for name in names})

    async def _ask(
        self, names: Sequence[str], call: str, what: str, ask: Callable[[Receiver], Awaitable[Any]]
    ) -> _Outcome:
        """Call all engines at once. Whatever an engine raises is the reason that it failed."""
        results = await asyncio.gather(
            *(self._bounded(name, call, what, ask(self._engines[name])) for name in names), return_exceptions=True
        )
        answers = dict(zip(names, results, strict=True))
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, Exception):
                raise result
        causes = {name: describe(result) for name, result in answers.items() if isinstance(result, Exception)}
        return _Outcome({name: result for name, result in answers.items() if name not in causes}, causes)

    async def _ask_sender(self, call: str, what: str, asked: Awaitable[Any]) -> Any:
        """A call that only the learner takes part in: if it fails, the learner is at fault."""
        try:
            return await self._bounded("learner", call, what, asked)
        except SenderLost:
            raise
        except Exception as error:
            raise SenderLost(describe(error)) from error

    async def _bounded(self, actor: str, call: str, what: str, asked: Awaitable[Any]) -> Any:
        limit = self._limit()
        try:
            async with asyncio.timeout(limit) as timer:
                return await asked
        except TimeoutError as error:
            if timer.expired():
                raise DeadlineExceeded(actor, call, what, limit) from error
            raise

    def _limit(self) -> float:
        """Seconds for the next call: half of what is left, so that the other half can mend what fails in it."""
        return max(0.0, self._deadline - time.monotonic()) / 2


def largest_difference(expected: Sequence[float], scores: Sequence[float]) -> float:
    """Largest absolute difference; infinite when the lengths differ or a value is not a number."""
    if len(expected) != len(scores):
        return math.inf
    gaps = [abs(a - b) for a, b in zip(expected, scores, strict=True)]
    return math.inf if any(math.isnan(gap) for gap in gaps) else max(gaps)


def describe(error: BaseException) -> str:
    """An error in one line: its type and what it says."""
    return f"{type(error).__name__}: {error}"
