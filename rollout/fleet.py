"""A fleet of engines that answers as one: routing, back pressure, deadlines, deaths and verification.

An engine is serving, held or quarantined.

* **Serving**: gets the next request if it is the least loaded of those with room. When none has room,
  requests wait in the order of their coming (back pressure), until an engine has room or is added.
* **Held** (`hold`): its weights are being changed or checked. It gets no request; answers that it gives
  now wait for the outcome: `release` lets them through, `quarantine` discards them.
* **Quarantined** (`quarantine`): a check failed. It gets no request, and the requests that it had are
  tried again elsewhere, until `restore`. So an engine's answer counts only if the engine was verified
  from the request's start to its end.

An engine that dies (`EngineDied`) leaves the fleet, and its requests are tried again elsewhere. Every
request has one deadline over all its waiting and tries, so nothing hangs: with no engine left, requests
wait for a replacement until theirs.

One event loop, no threads: every method but `generate` is synchronous and takes effect at once.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any

import msgspec

from rollout.engine import DeadlineExceeded, EngineDied, Generator
from rollout.types import GenerateRequest, GenerateResult

OnDeath = Callable[[str, str], None]


class EngineState(StrEnum):
    """Where an engine stands in the fleet."""

    SERVING = "serving"
    HELD = "held"
    QUARANTINED = "quarantined"


class _Retry(Exception):
    """This try does not count; the request goes elsewhere. Never leaves the fleet."""


class _Member:
    """One engine and what the fleet knows of it."""

    def __init__(self, name: str, engine: Generator, max_concurrent: int, version: int) -> None:
        self.name, self.engine, self.max_concurrent, self.version = name, engine, max_concurrent, version
        self.state = EngineState.SERVING
        self.reason = ""
        self.in_flight = 0
        self.calls: set[asyncio.Task[GenerateResult]] = set()
        self.revocations = 0
        self.checked = asyncio.Event()
        self.counts: Counter[str] = Counter()

    @property
    def has_room(self) -> bool:
        return self.is_serving and self.in_flight < self.max_concurrent

    @property
    def is_serving(self) -> bool:
        return self.state is EngineState.SERVING

    async def settled(self, revocations: int) -> None:
        """Wait until a hold, if there is one, is over; raise `_Retry` if this engine was revoked since."""
        while self.state is EngineState.HELD and self.revocations == revocations:
            await self.checked.wait()
        if self.revocations != revocations:
            raise _Retry

    def revoke(self) -> None:
        """Discard what is under way here: its callers go elsewhere."""
        self.revocations += 1
        self.checked.set()
        for call in self.calls:
            call.cancel()


class Fleet:
    """Several engines behind the generator protocol."""

    def __init__(self, on_death: OnDeath | None = None, max_deaths: int = 2, grace_s: float = 2.0) -> None:
        """Start empty.

        Args:
            on_death: called once with an engine's name and the cause when a request finds it dead.
            max_deaths: engines that one request may lose before it is given up as the likely cause.
            grace_s: seconds beyond a request's deadline in which an engine may report the deadline itself.
        """
        self._members: dict[str, _Member] = {}
        self._waiting: deque[asyncio.Future[_Member]] = deque()
        self._on_death = on_death
        self._max_deaths = max_deaths
        self._grace_s = grace_s
        self._counts: Counter[str] = Counter()

    def add(self, name: str, engine: Generator, max_concurrent: int, version: int = 0) -> None:
        """Let an engine serve, which the caller has verified to hold weights of `version`.

        Raises:
            ValueError: there is an engine of that name, or it may do nothing at once.
        """
        if name in self._members:
            raise ValueError(f"the fleet has an engine {name!r} already: remove it first")
        if max_concurrent < 1:
            raise ValueError(f"engine {name!r} needs max_concurrent of at least 1, got {max_concurrent}")
        self._members[name] = _Member(name, engine, max_concurrent, version)
        self._serve_waiting()

    def remove(self, name: str, cause: str) -> None:
        """Take an engine out for good, because it died or is no longer wanted; its requests go elsewhere."""
        member = self._member(name)
        del self._members[name]
        member.state, member.reason = EngineState.QUARANTINED, cause
        member.revoke()

    def hold(self, name: str) -> None:
        """Send no request, and keep back answers, until `release` or `quarantine`.

        Raises:
            ValueError: the engine is quarantined: `restore` it instead.
        """
        member = self._member(name)
        if member.state is EngineState.QUARANTINED:
            raise ValueError(f"engine {name!r} is quarantined ({member.reason}): verify it and restore it")
        if member.state is EngineState.SERVING:
            member.state = EngineState.HELD
            member.checked.clear()

    def release(self, name: str, version: int | None = None) -> None:
        """Let a held engine serve again: it was verified, to hold `version` if one is given.

        Raises:
            ValueError: the engine is quarantined: only `restore` brings it back.
        """
        member = self._member(name)
        if member.state is EngineState.QUARANTINED:
            raise ValueError(f"engine {name!r} is quarantined ({member.reason}): verify it and restore it")
        self._let_serve(member, member.version if version is None else version)

    def quarantine(self, name: str, reason: str) -> None:
        """Take an engine out of service because a check failed; what it has under way does not count."""
        member = self._member(name)
        member.state, member.reason = EngineState.QUARANTINED, reason
        self._counts["quarantines"] += 1
        member.revoke()

    def restore(self, name: str, version: int) -> None:
        """Let a quarantined engine serve again: it was verified to hold weights of `version`."""
        self._let_serve(self._member(name), version)

    def _let_serve(self, member: _Member, version: int) -> None:
        member.state, member.reason, member.version = EngineState.SERVING, "", version
        member.checked.set()
        self._serve_waiting()

    def states(self) -> dict[str, EngineState]:
        """Return every engine's state by its name."""
        return {name: member.state for name, member in self._members.items()}

    def _member(self, name: str) -> _Member:
        if name not in self._members:
            raise ValueError(f"the fleet has no engine {name!r}; it has {sorted(self._members)}")
        return self._members[name]

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        """Answer on the least loaded engine, and on another if that one dies or is quarantined.

        Raises:
            ValueError: the engine refused the request.
            DeadlineExceeded: no answer that counts within `request.deadline_s`, waiting included.
            EngineDied: `max_deaths` + 1 engines died of the request.
        """
        deadline = asyncio.get_running_loop().time() + request.deadline_s
        self._counts["requests"] += 1
        deaths = num_try = 0
        while True:
            member = await self._acquire(request, deadline, is_retry=num_try > 0)
            try:
                return await self._try(member, _numbered(request, num_try), deadline)
            except EngineDied as error:
                deaths += 1
                self._bury(member, error.cause)
                if deaths > self._max_deaths:
                    raise
            except _Retry:
                self._counts["discarded"] += 1
            finally:
                self._give_back(member)
            num_try += 1
            self._counts["retries"] += 1

    async def _acquire(self, request: GenerateRequest, deadline: float, is_retry: bool) -> _Member:
        """Wait for room on an engine, and take it; a retry, which has waited before, goes first."""
        if member := self._least_loaded():
            return _taken(member)  # passes nobody: while there is room, nobody waits
        turn: asyncio.Future[_Member] = asyncio.get_running_loop().create_future()
        if is_retry:
            self._waiting.appendleft(turn)
        else:
            self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(deadline):
                return await turn
        except TimeoutError as error:
            self._leave(turn)
            raise self._late("fleet", request, f"waiting for an engine with room: {self._describe()}") from error
        except asyncio.CancelledError:
            self._leave(turn)
            raise

    def _leave(self, turn: asyncio.Future[_Member]) -> None:
        """Stop waiting; if an engine was assigned in the same moment, its room goes to the next."""
        if turn.done() and not turn.cancelled():
            self._give_back(turn.result())
        elif turn in self._waiting:
            self._waiting.remove(turn)

    def _least_loaded(self) -> _Member | None:
        roomy = [member for member in self._members.values() if member.has_room]
        return min(roomy, key=lambda member: member.in_flight / member.max_concurrent, default=None)

    def _give_back(self, member: _Member) -> None:
        member.in_flight -= 1
        self._serve_waiting()

    def _serve_waiting(self) -> None:
        while self._waiting and (member := self._least_loaded()):
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(_taken(member))

    async def _try(self, member: _Member, request: GenerateRequest, deadline: float) -> GenerateResult:
        """Ask one engine, and pass its answer on once the engine was verified from start to end."""
        if not member.is_serving:
            raise _Retry  # it was held or taken out between the assignment of its room and now
        member.counts["requests"] += 1
        revocations = member.revocations
        left = max(0.0, deadline - asyncio.get_running_loop().time())
        call = asyncio.ensure_future(member.engine.generate(msgspec.structs.replace(request, deadline_s=left)))
        member.calls.add(call)
        try:
            await self._within(deadline, member, request, asyncio.wait({call}))
            if member.revocations != revocations:
                raise _Retry
            result = self._answer(member, call)
            await self._within(deadline, member, request, member.settled(revocations))
            return result
        finally:
            member.calls.discard(call)
            _abandon(call)

    async def _within(
        self, deadline: float, member: _Member, request: GenerateRequest, waiting: Coroutine[Any, Any, object]
    ) -> None:
        try:
            async with asyncio.timeout_at(deadline + self._grace_s):
                await waiting
        except TimeoutError as error:
            member.counts["deadlines"] += 1
            raise self._late(member.name, request, f"engine {member.state}") from error

    def _answer(self, member: _Member, call: asyncio.Task[GenerateResult]) -> GenerateResult:
        if call.cancelled():
            raise EngineDied(member.name, "it cancelled a request by itself")
        try:
            return call.result()
        except DeadlineExceeded:
            self._counts["deadlines"] += 1
            member.counts["deadlines"] += 1
            raise

    def _bury(self, member: _Member, cause: str) -> None:
        """Take a dead engine out. Once: this revokes its other requests, which then do not report the death."""
        self._counts["deaths"] += 1
        self.remove(member.name, cause)
        if self._on_death is not None:
            self._on_death(member.name, cause)

    def _late(self, actor: str, request: GenerateRequest, what: str) -> DeadlineExceeded:
        self._counts["deadlines"] += 1
        return DeadlineExceeded(actor, "generate", f"request {request.request_id}, {what}", request.deadline_s)

    def _describe(self) -> str:
        counts = Counter(self.states().values())
        return ", ".join(f"{counts[state]} {state}" for state in EngineState)

    def metrics(self) -> dict[str, float]:
        """Return what is under way and what has happened, in all and by engine."""
        counts = Counter(self.states().values())
        metrics: dict[str, float] = {f"fleet/{state}": counts[state] for state in EngineState}
        metrics |= {f"fleet/{name}": self._counts[name] for name in _COUNTS}
        metrics["fleet/in_flight"] = sum(member.in_flight for member in self._members.values())
        metrics["fleet/waiting"] = len(self._waiting)
        for name, member in self._members.items():
            metrics[f"fleet/in_flight/{name}"] = member.in_flight
            metrics[f"fleet/requests/{name}"] = member.counts["requests"]
            metrics[f"fleet/deadlines/{name}"] = member.counts["deadlines"]
            metrics[f"fleet/version/{name}"] = member.version
        return metrics


_COUNTS = ("requests", "retries", "discarded", "deaths", "quarantines", "deadlines")


def _taken(member: _Member) -> _Member:
    member.in_flight += 1
    return member


def _numbered(request: GenerateRequest, num_try: int) -> GenerateRequest:
    """Give a further try an id of its own: an engine may still know the last try by the old one."""
    if num_try == 0:
        return request
    return msgspec.structs.replace(request, request_id=f"{request.request_id}.try{num_try}")


def _abandon(call: asyncio.Task[GenerateResult]) -> None:
    """Stop a call that nobody waits for any more, and read its error: its caller has been told already."""
    call.cancel()
    call.add_done_callback(lambda task: task.cancelled() or task.exception())
