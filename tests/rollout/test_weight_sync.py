"""The orchestration of a weight sync, with fakes: who serves afterwards, and who does not."""

import asyncio
import pickle

import pytest

from rollout.config import SyncConfig
from rollout.engine import DeadlineExceeded, EngineDied
from rollout.fleet import EngineState, Fleet
from rollout.types import GeneratedText, GenerateRequest, GenerateResult, SamplingConfig
from rollout.weight_sync import (
    SenderLost,
    TransferManifest,
    WeightSync,
    WeightSyncError,
    largest_difference,
)

MANIFEST = TransferManifest(names=("w",), dtype_names=("bfloat16",), shapes=((2, 3),))
PROBE = [1, 2, 3]


class Wire:
    """Joins the two sides: a collective call ends when all members are in it, as it would over a network."""

    def __init__(self):
        self.log = []
        self.broken = False
        self._arrivals = {}

    async def meet(self, group, call):
        key = (group.port, call)
        here, everyone = self._arrivals.setdefault(key, ([], asyncio.Event()))
        here.append(group.rank)
        if len(here) == group.world_size:
            del self._arrivals[key]
            everyone.set()
        await asyncio.wait_for(everyone.wait(), group.timeout_s)


class FakeSender:
    def __init__(self, wire, checksum=0xABC, logprobs=(-1.0, -2.0)):
        self.wire, self.checksum, self._logprobs = wire, checksum, list(logprobs)
        self.groups, self.lost = [], False

    async def rendezvous(self):
        if self.lost:
            raise SenderLost("its process ended")
        return "127.0.0.1", 4000 + len(self.groups)

    async def manifest(self):
        return MANIFEST

    async def connect(self, group):
        self.groups.append(group)
        await self.wire.meet(group, "connect")

    async def send(self, version):
        self.wire.log.append(f"send {version}")
        await self.wire.meet(self.groups[-1], f"send {version}")
        return self.checksum

    async def logprobs(self, token_ids):
        assert token_ids == PROBE
        return self._logprobs


class FakeEngine:
    """Behaves, unless told: `dies`, `hangs` or `fails` in the call named; `checksum` and `scores` as given."""

    def __init__(self, name, wire, *, dies="", hangs="", fails="", checksum=0xABC, scores=(-1.01, -2.0)):
        self.name, self.wire = name, wire
        self.dies, self.hangs, self.fails = dies, hangs, fails
        self.checksum, self.scores = checksum, list(scores)
        self.group = None
        self.version = 0

    async def _enter(self, call):
        self.wire.log.append(f"{self.name} {call}")
        if self.dies == call:
            raise EngineDied(self.name, "its process ended")
        if self.hangs == call:
            await asyncio.Event().wait()
        if self.fails == call:
            raise RuntimeError("bus error")

    async def pause(self):
        await self._enter("pause")

    async def connect(self, group):
        await self._enter("connect")
        self.group = group
        await self.wire.meet(group, "connect")

    async def receive(self, manifest, version):
        await self._enter("receive")
        assert manifest == MANIFEST
        await self.wire.meet(self.group, f"send {version}")
        self.version = version
        return self.checksum

    async def resume(self):
        await self._enter("resume")

    async def score(self, token_ids):
        await self._enter("score")
        return self.scores

    async def generate(self, request):
        text = GeneratedText(text="", token_ids=(1,), logprobs=(-1.0,), finish_reason="stop")
        return GenerateResult(
            prompt_token_ids=(1,),
            outputs=(text,),
            min_policy_version=self.version,
            max_policy_version=self.version,
            engine=self.name,
        )


class World:
    def __init__(self, timeout_s=2.0, tolerance=0.05, workers=1, **engines):
        self.wire = Wire()
        self.sender = FakeSender(self.wire)
        self.fleet = Fleet()
        config = SyncConfig(parity_tolerance=tolerance, timeout_s=timeout_s)
        self.sync = WeightSync(self.sender, self.fleet, config, PROBE, workers_per_engine=workers)
        self.engines = {name: FakeEngine(name, self.wire, **faults) for name, faults in engines.items()}
        for name, engine in self.engines.items():
            self.fleet.add(name, engine, max_concurrent=4)
            self.sync.attach(name, engine)

    def states(self):
        return {name: str(state) for name, state in self.fleet.states().items()}


def run(scenario):
    return asyncio.run(scenario)


def test_all_engines_are_brought_up_together_in_one_broadcast():
    async def scenario():
        world = World(a={}, b={})
        report = await world.sync.sync(5)
        assert report.verified == ("a", "b")
        assert report.failed == {}
        assert report.parity == {"a": pytest.approx(0.01), "b": pytest.approx(0.01)}
        assert world.wire.log.count("send 5") == 1
        assert world.states() == {"a": "serving", "b": "serving"}
        order = [entry for entry in world.wire.log if entry.startswith("a ")]
        assert order == ["a pause", "a connect", "a receive", "a resume", "a score"]

    run(scenario())


def test_engines_get_ranks_of_their_own_and_room_for_all_workers():
    async def scenario():
        world = World(a={}, b={}, workers=2)
        world.wire.meet = lambda group, call: asyncio.sleep(0)
        await world.sync.sync(1)
        assert [world.engines[name].group.rank for name in "ab"] == [1, 3]
        assert world.sender.groups[0].rank == 0
        assert {world.engines[name].group.world_size for name in "ab"} == {5}

    run(scenario())


def test_group_is_formed_again_only_when_the_members_change():
    async def scenario():
        world = World(a={}, b={})
        await world.sync.sync(1)
        await world.sync.sync(2)
        assert len(world.sender.groups) == 1
        world.fleet.remove("b", "no longer wanted")
        report = await world.sync.sync(3)
        assert report.verified == ("a",)
        assert [group.world_size for group in world.sender.groups] == [3, 2]
        assert world.sender.groups[0].port != world.sender.groups[1].port

    run(scenario())


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        ({"checksum": 0xBAD}, "checksum of the weights that arrived is 0xbad, of those sent 0xabc"),
        ({"scores": (-1.0, -2.06)}, "differ from the learner's by 0.06 nats, more than 0.05"),
        ({"scores": (-1.0, float("nan"))}, "differ from the learner's by inf nats"),
        ({"scores": (-1.0,)}, "differ from the learner's by inf nats"),
        ({"dies": "pause"}, "EngineDied: engine b died: its process ended"),
        ({"dies": "connect"}, "EngineDied: engine b died"),
        ({"dies": "receive"}, "EngineDied: engine b died"),
        ({"fails": "receive"}, "RuntimeError: bus error"),
        ({"dies": "score"}, "EngineDied: engine b died"),
        ({"hangs": "pause"}, "b.pause did not answer within"),
        ({"hangs": "receive"}, "b.receive did not answer within"),
        ({"hangs": "score"}, "b.score did not answer within"),
    ],
)
def test_only_the_failing_engine_is_quarantined(faults, reason):
    """Invariant 4: whatever goes wrong with one engine, it does not serve, and the others go on."""

    async def scenario():
        world = World(timeout_s=0.8, a={}, b=faults, c={})
        report = await world.sync.sync(9)
        assert report.verified == ("a", "c")
        assert reason in report.failed["b"]
        assert world.states() == {"a": "serving", "b": "quarantined", "c": "serving"}
        assert world.sync.engines == ("a", "c")
        again = await world.sync.sync(10)
        assert again.verified == ("a", "c")

    run(scenario())


def test_nothing_is_served_before_the_verdict():
    """Invariant 4: an answer of unverified weights waits, and is discarded when the check fails."""

    async def scenario():
        world = World(a={"scores": (-1.0, -9.0)}, b={})
        probing = asyncio.Event()
        verdict = asyncio.Event()

        async def slow_score(token_ids):
            probing.set()
            await verdict.wait()
            return [-1.0, -9.0]

        world.engines["a"].score = slow_score
        syncing = asyncio.create_task(world.sync.sync(4))
        await probing.wait()
        assert set(world.fleet.states().values()) == {EngineState.HELD}
        asked = asyncio.create_task(world.fleet.generate(request()))
        await asyncio.sleep(0.02)
        assert not asked.done()
        verdict.set()
        assert (await syncing).verified == ("b",)
        answer = await asked
        assert (answer.engine, answer.max_policy_version) == ("b", 4)

    run(scenario())


def request():
    return GenerateRequest(request_id="r", prompt_token_ids=(1,), sampling=SamplingConfig(), deadline_s=1.0)


def test_lost_learner_ends_the_sync_and_blames_no_engine():
    async def scenario():
        world = World(a={}, b={})
        world.sender.lost = True
        with pytest.raises(SenderLost, match="its process ended"):
            await world.sync.sync(1)
        assert world.states() == {"a": "held", "b": "held"}
        assert world.sync.engines == ("a", "b")

    run(scenario())


def test_learner_that_cannot_score_is_a_lost_learner():
    async def scenario():
        world = World(a={})

        async def broken(token_ids):
            raise ValueError("no such token")

        world.sender.logprobs = broken
        with pytest.raises(SenderLost, match="ValueError: no such token"):
            await world.sync.sync(1)

    run(scenario())


def test_learner_that_hangs_is_named_with_the_call():
    async def scenario():
        world = World(timeout_s=0.2, a={})
        world.sender.manifest = asyncio.Event().wait
        with pytest.raises(SenderLost, match=r"learner.manifest did not answer within .* \(weight version 3\)"):
            await world.sync.sync(3)

    run(scenario())


def test_replacement_is_admitted_only_once_verified():
    async def scenario():
        world = World(a={})
        good, bad = FakeEngine("b", world.wire), FakeEngine("c", world.wire, checksum=1)
        await world.sync.sync(2)
        await world.sync.catch_up("b", good, 2, lambda: world.fleet.add("b", good, 4, version=2))
        with pytest.raises(WeightSyncError, match="engine c was not brought to weight version 2: checksum"):
            await world.sync.catch_up("c", bad, 2, lambda: pytest.fail("admitted unverified"))
        assert world.sync.engines == ("a", "b")
        assert (await world.sync.sync(3)).verified == ("a", "b")
        assert [group.world_size for group in world.sender.groups] == [2, 2, 2, 3]

    run(scenario())


def test_largest_difference():
    assert largest_difference([-1.0, -2.0], [-1.25, -1.5]) == 0.5
    assert largest_difference([-1.0], [-1.0, -2.0]) == float("inf")
    assert largest_difference([float("nan")], [-1.0]) == float("inf")


def test_a_probe_of_one_token_is_refused():
    with pytest.raises(ValueError, match="at least 2 tokens, got 1"):
        WeightSync(None, None, SyncConfig(), [1])


def test_errors_survive_a_pickle():
    for error in (WeightSyncError("e", 3, "lost"), SenderLost("gone"), DeadlineExceeded("a", "b", "c", 1.0)):
        copied = pickle.loads(pickle.dumps(error))  # noqa: S301
        assert (type(copied), str(copied)) == (type(error), str(error))
