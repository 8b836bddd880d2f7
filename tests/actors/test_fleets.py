import asyncio

import pytest

from actors import fleets
from actors.fleets import EngineKeeper, FleetExhausted
from rollout.engine import DeadlineExceeded, EngineDied
from rollout.types import GenerateRequest, SamplingConfig
from rollout.weight_sync import WeightSyncError
from tests.actors.fakes import FakeEngine, Spawner, background, run, ticks, until


class Bench:
    def __init__(self, *names: str, max_replacements: int = 3) -> None:
        self.spawner, self.notes = Spawner(), []
        self.lost: list[str] = []
        self.keeper = EngineKeeper(
            names or ("engine-0", "engine-1"), self.spawner, 8, 60.0, self.notes.append, max_replacements
        )
        self.keeper.on_loss = self.lost.append

    def made(self, name: str) -> int:
        return len(self.spawner.made[name])

    async def back(self, times: int = 1) -> None:
        await until(lambda: sum(note.endswith("is back") for note in self.notes) == times)

    async def ask(self, deadline_s: float = 5.0) -> str:
        """Which engine answers, as name#number."""
        request = GenerateRequest(
            request_id="a", prompt_token_ids=(1,), sampling=SamplingConfig(), deadline_s=deadline_s
        )
        return (await self.keeper.fleet.generate(request)).engine


def test_all_engines_start_and_serve():
    async def test():
        bench = Bench()
        await bench.keeper.start()
        assert set(bench.keeper.fleet.states()) == {"engine-0", "engine-1"}
        assert bench.keeper.num_starts == 2
        assert await bench.ask() == "engine-0#0"
        await bench.keeper.stop()
        assert all(engines[0].log[-1] == "stop" for engines in bench.spawner.made.values())

    run(test)


def test_a_death_found_by_a_request_is_replaced_and_the_request_answered_elsewhere():
    async def test():
        bench = Bench()
        await bench.keeper.start()
        async with background(bench.keeper.watch()):
            bench.spawner.made["engine-0"][0].dead = True
            assert await bench.ask() == "engine-1#0"
            assert bench.lost == ["engine-0"]
            await bench.back()
            assert bench.spawner.made["engine-0"][0].log[-1] == "stop"
            assert bench.spawner.made["engine-0"][1].log == ["start"]
            assert bench.keeper.engines["engine-0"] is bench.spawner.made["engine-0"][1]
            assert set(bench.keeper.fleet.states()) == {"engine-0", "engine-1"}
            assert bench.keeper.num_starts == 3
            assert bench.notes == [
                "engine-0 is replaced: found dead by generate",
                "engine-0 is back",
            ]

    run(test)


def test_a_request_waits_for_the_replacement_of_the_only_engine():
    async def test():
        bench = Bench("engine-0")
        await bench.keeper.start()
        async with background(bench.keeper.watch()):
            bench.spawner.made["engine-0"][0].dead = True
            assert await bench.ask() == "engine-0#1"

    run(test)


def test_several_reports_of_one_death_replace_once():
    async def test():
        bench = Bench()
        await bench.keeper.start()
        async with background(bench.keeper.watch()):
            for cause in ("a request failed", "a health check failed", "weight sync: gone"):
                bench.keeper.report_death("engine-0", cause)
                await ticks(1)
            bench.keeper.report_death("engine-9", "no such engine")
            await bench.back()
            await ticks(20)
            assert bench.made("engine-0") == 2
            assert bench.lost == ["engine-0"]
            bench.keeper.report_death("engine-0", "the replacement died too")
            await bench.back(2)
            assert bench.made("engine-0") == 3

    run(test)


def test_a_lost_engine_serves_nobody_until_it_is_admitted():
    async def test():
        bench, gate = Bench("engine-0"), asyncio.Event()
        await bench.keeper.start()

        async def admit(name, engine):
            await gate.wait()
            bench.keeper.add(name, engine, version=5)

        bench.keeper.admit = admit
        async with background(bench.keeper.watch()):
            bench.keeper.report_death("engine-0", "gone")
            asked = asyncio.create_task(bench.ask())
            await ticks(30)
            assert bench.keeper.fleet.states() == {}
            assert not asked.done()
            gate.set()
            assert await asked == "engine-0#1"
            assert bench.keeper.fleet.metrics()["fleet/version/engine-0"] == 5

    run(test)


def test_a_replacement_that_dies_as_soon_as_it_serves_is_replaced_too():
    async def test():
        bench = Bench("engine-0")
        await bench.keeper.start()

        async def admit(name, engine):
            bench.keeper.add(name, engine, version=0)
            if bench.made(name) == 2:
                bench.keeper.report_death(name, "died at its first request")
            await ticks(3)

        bench.keeper.admit = admit
        async with background(bench.keeper.watch()):
            bench.keeper.report_death("engine-0", "gone")
            await until(lambda: bench.made("engine-0") == 3)
            await bench.back(2)
            assert set(bench.keeper.fleet.states()) == {"engine-0"}

    run(test)


@pytest.mark.parametrize(
    "error",
    [
        EngineDied("engine-0", "out of memory"),
        DeadlineExceeded("engine-0", "start", "loading the model", 60),
    ],
)
def test_a_replacement_that_does_not_start_is_tried_again(error):
    async def test():
        bench = Bench()
        await bench.keeper.start()

        def refuse(engine: FakeEngine) -> None:
            engine.fail_start = error if engine.number < 3 else None

        bench.spawner.prepare = refuse
        async with background(bench.keeper.watch()):
            bench.keeper.report_death("engine-0", "gone")
            await bench.back()
            assert bench.made("engine-0") == 4
            assert [engine.log[-1] for engine in bench.spawner.made["engine-0"]] == ["stop", "stop", "stop", "start"]
            assert set(bench.keeper.fleet.states()) == {"engine-0", "engine-1"}

    run(test)


def test_a_replacement_that_cannot_be_verified_is_replaced_by_another():
    async def test():
        bench = Bench("engine-0")
        await bench.keeper.start()

        async def admit(name, engine):
            if engine.number == 1:
                raise WeightSyncError(name, 3, "checksums differ")
            bench.keeper.add(name, engine, version=3)

        bench.keeper.admit = admit
        async with background(bench.keeper.watch()):
            bench.keeper.report_death("engine-0", "gone")
            await bench.back()
            assert await bench.ask() == "engine-0#2"

    run(test)


def test_an_engine_that_keeps_dying_ends_the_run_and_is_named():
    async def test():
        bench = Bench(max_replacements=2)
        await bench.keeper.start()

        def refuse(engine: FakeEngine) -> None:
            engine.fail_start = EngineDied(engine.name, f"out of memory, try {engine.number}")

        bench.spawner.prepare = refuse
        bench.keeper.report_death("engine-1", "gone")
        with pytest.raises(FleetExhausted) as caught:
            await bench.keeper.watch()
        assert str(caught.value).startswith(
            "engine-1 was lost 3 times, the last time because: engine engine-1 died: out of memory, try 2."
        )
        assert bench.made("engine-1") == 3
        assert bench.made("engine-0") == 1

    run(test)


def test_an_error_that_nobody_foresaw_ends_the_watch_as_it_is():
    async def test():
        bench, error = Bench("engine-0"), ValueError("the configuration does not fit the model")
        await bench.keeper.start()
        bench.spawner.prepare = lambda engine: setattr(engine, "fail_start", error)
        bench.keeper.report_death("engine-0", "gone")
        with pytest.raises(ValueError, match="does not fit") as caught:
            await bench.keeper.watch()
        assert caught.value is error

    run(test)


def test_two_engines_are_replaced_side_by_side():
    async def test():
        bench, gates = Bench(), {"engine-0": asyncio.Event(), "engine-1": asyncio.Event()}
        await bench.keeper.start()

        async def admit(name, engine):
            await gates[name].wait()
            bench.keeper.add(name, engine, version=0)

        bench.keeper.admit = admit
        async with background(bench.keeper.watch()):
            for name in gates:
                bench.keeper.report_death(name, "gone")
            gates["engine-1"].set()
            await bench.back()
            assert set(bench.keeper.fleet.states()) == {"engine-1"}
            gates["engine-0"].set()
            await bench.back(2)

    run(test)


@pytest.mark.parametrize("hangs", [False, True])
def test_a_health_check_finds_an_idle_engine_dead(monkeypatch, hangs):
    monkeypatch.setattr(fleets, "HEALTH_INTERVAL_S", 0.001)

    async def test():
        bench = Bench()
        await bench.keeper.start()
        engine = bench.spawner.made["engine-1"][0]
        engine.dead = not hangs

        async def late() -> None:
            raise DeadlineExceeded("engine-1", "health", "", 300)

        if hangs:
            engine.health = late
        async with background(bench.keeper.watch()):
            await until(lambda: bench.made("engine-1") == 2)
            await bench.back()
            assert bench.made("engine-0") == 1
            found = "did not answer" if hangs else "found dead by health"
            assert found in bench.notes[0]

    run(test)


def test_a_late_health_check_of_the_old_engine_does_not_end_its_replacement(monkeypatch):
    monkeypatch.setattr(fleets, "HEALTH_INTERVAL_S", 0.0)

    async def test():
        bench, answer = Bench("engine-0"), asyncio.Event()
        await bench.keeper.start()
        asked = asyncio.Event()

        async def late() -> None:
            asked.set()
            await answer.wait()
            raise EngineDied("engine-0", "its actor was killed")

        bench.spawner.made["engine-0"][0].health = late
        async with background(bench.keeper.watch()):
            await asked.wait()
            bench.keeper.report_death("engine-0", "gone")
            await bench.back()
            answer.set()
            await ticks(100)
            assert bench.made("engine-0") == 2
            assert set(bench.keeper.fleet.states()) == {"engine-0"}

    run(test)
