import asyncio
import math

import pytest

from actors.fleets import EngineKeeper
from actors.publisher import Publisher
from rollout.config import SyncConfig
from rollout.types import GenerateRequest, SamplingConfig
from rollout.weight_sync import SenderLost
from tests.actors.fakes import FakeEngine, FakeLearner, Spawner, background, run, ticks, until

REQUEST = GenerateRequest(request_id="a", prompt_token_ids=(1,), sampling=SamplingConfig(), deadline_s=5)


class Bench:
    """A learner, a keeper of two engines and the publisher between them."""

    def __init__(self, version: int = 0) -> None:
        self.learner, self.lock = FakeLearner(version), asyncio.Lock()
        self.spawner, self.notes = Spawner(), []
        self.keeper = EngineKeeper(("engine-0", "engine-1"), self.spawner, 8, 60.0, self.notes.append)

    async def start(self) -> Publisher:
        await self.keeper.start()
        return self.publisher()

    def publisher(self) -> Publisher:
        config = SyncConfig(timeout_s=5.0, parity_tolerance=0.05)
        return Publisher(self.learner, self.keeper, config, (1, 2, 3), 1, self.lock, self.notes.append)

    async def step(self, publisher: Publisher) -> None:
        """Train one step and publish it, as the controller does."""
        async with self.lock:
            await self.learner.train_step([], self.learner.version)
            await publisher.publish(self.learner.version)

    def versions(self) -> dict[str, float]:
        """The version that each engine of the fleet is said to serve."""
        metrics = self.keeper.fleet.metrics()
        return {name: metrics[f"fleet/version/{name}"] for name in self.keeper.fleet.states()}

    def held(self) -> dict[str, int]:
        """The version that each engine of the fleet truly holds."""
        return {name: self.keeper.engines[name].weights for name in self.keeper.fleet.states()}

    async def back(self) -> None:
        await until(lambda: bool(self.notes) and self.notes[-1].endswith("is back"))


def test_every_engine_is_brought_to_the_learners_version():
    async def test():
        bench = Bench()
        publisher = await bench.start()
        assert publisher.metrics() == {}
        for _ in range(3):
            await bench.step(publisher)
        assert bench.versions() == bench.held() == {"engine-0": 3, "engine-1": 3}
        assert publisher.last is not None
        assert publisher.last.failed == {}
        assert publisher.metrics()["parity"] == 0.0
        assert publisher.metrics()["sync_seconds"] > 0

    run(test)


def test_an_engine_that_fails_a_sync_is_replaced_and_caught_up():
    async def test():
        bench = Bench()
        publisher = await bench.start()
        async with background(bench.keeper.watch()):
            bench.spawner.made["engine-0"][0].fail_receive = RuntimeError("connection reset")
            await bench.step(publisher)
            assert bench.versions() == {"engine-1": 1}
            await bench.back()
            assert bench.versions() == bench.held() == {"engine-0": 1, "engine-1": 1}
            assert bench.keeper.engines["engine-0"].number == 1
            assert "weight sync: RuntimeError: connection reset" in bench.notes[0]
            await bench.step(publisher)
            assert bench.versions() == bench.held() == {"engine-0": 2, "engine-1": 2}

    run(test)


def test_an_engine_that_computes_something_else_is_replaced():
    async def test():
        bench = Bench()
        publisher = await bench.start()
        engine: FakeEngine = bench.spawner.made["engine-1"][0]

        async def garbled(token_ids):
            return [-1.0, math.nan]

        engine.score = garbled
        async with background(bench.keeper.watch()):
            await bench.step(publisher)
            assert set(bench.versions()) == {"engine-0"}
            await bench.back()
            assert bench.held() == {"engine-0": 1, "engine-1": 1}

    run(test)


def test_a_replacement_waits_for_the_step_and_then_gets_the_new_version():
    async def test():
        bench = Bench()
        publisher = await bench.start()
        async with background(bench.keeper.watch()):
            await bench.lock.acquire()  # a step has begun
            bench.keeper.report_death("engine-0", "gone")
            await ticks(100)
            assert bench.versions() == {"engine-1": 0}
            bench.learner.training = True  # the fake refuses to send in the middle of a step
            await ticks(100)
            bench.learner.training, bench.learner.version = False, 1
            await publisher.publish(1)
            assert bench.versions() == {"engine-1": 1}
            bench.lock.release()
            await bench.back()
            assert bench.versions() == bench.held() == {"engine-0": 1, "engine-1": 1}

    run(test)


def test_a_step_waits_until_a_replacement_has_its_weights():
    async def test():
        bench = Bench()
        publisher = await bench.start()
        bench.learner._most_ticks = 3
        async with background(bench.keeper.watch()):
            for seed in range(30):
                bench.keeper.report_death(f"engine-{seed % 2}", "gone")
                bench.keeper._num_replaced.clear()
                await ticks(seed)
                await bench.step(publisher)
                await until(lambda: len(bench.versions()) == 2)
                assert bench.versions() == bench.held() == dict.fromkeys(("engine-0", "engine-1"), seed + 1)

    run(test)


def test_a_lost_engine_is_left_out_of_the_next_sync():
    async def test():
        bench = Bench()
        publisher = await bench.start()
        await bench.step(publisher)
        lost = bench.spawner.made["engine-0"][0]
        lost.dead = True
        assert (await bench.keeper.fleet.generate(REQUEST)).engine == "engine-1#0"
        assert publisher._sync.engines == ("engine-1",), "at once, not only when the next sync finds out"
        lost.log.clear()
        await bench.step(publisher)
        assert lost.log == []
        assert publisher.last is not None
        assert (publisher.last.verified, publisher.last.failed) == (("engine-1",), {})

    run(test)


def test_a_lost_learner_ends_the_sync_and_no_engine_is_blamed():
    async def test():
        bench = Bench()
        publisher = await bench.start()

        async def gone(version: int) -> int:
            raise SenderLost("learner-rank-0 died during send")

        bench.learner.send = gone
        with pytest.raises(SenderLost, match="learner-rank-0 died"):
            await bench.step(publisher)
        assert len(bench.keeper.fleet.states()) == 2

    run(test)


def test_an_engine_replaced_between_two_runs_asks_no_learner_and_is_in_the_next_runs_first_sync():
    async def test():
        bench = Bench(version=7)
        publisher = await bench.start()
        async with background(bench.keeper.watch()):
            await publisher.publish(7)
            await publisher.close()
            bench.learner = FakeLearner(version=0)  # that of the first run is gone
            bench.keeper.report_death("engine-0", "gone")
            await bench.back()
            assert bench.keeper.engines["engine-0"].log == ["start"]
            following = bench.publisher()
            await following.publish(0)
            assert bench.versions() == bench.held() == {"engine-0": 0, "engine-1": 0}

    run(test)


def test_an_engine_that_waits_for_the_learner_when_the_run_ends_is_left_to_the_next_run():
    async def test():
        bench = Bench(version=7)
        publisher = await bench.start()
        await publisher.publish(7)
        async with background(bench.keeper.watch()):
            await bench.lock.acquire()
            closing = asyncio.create_task(publisher.close())
            await ticks(5)
            bench.keeper.report_death("engine-0", "gone")
            await ticks(50)
            bench.learner.training = True  # nothing may be sent any more
            bench.lock.release()
            await closing
            await bench.back()
            assert len(bench.spawner.made["engine-0"]) == 2
            assert bench.keeper.engines["engine-0"].log == ["start"]

    run(test)
