import asyncio
import pickle
from collections.abc import Awaitable, Callable

import pytest

from rollout.engine import DeadlineExceeded, EngineDied
from rollout.fleet import EngineState, Fleet
from rollout.types import GenerateRequest, GenerateResult, SamplingConfig


class FakeEngine:
    """Answers when told to: each request waits for `finish` or `fail`, unless the engine is `quick`."""

    def __init__(self, name: str, quick: bool = False) -> None:
        self.name, self.quick = name, quick
        self.open: dict[str, asyncio.Future] = {}
        self.seen: list[str] = []
        self.cancelled: list[str] = []
        self.deadlines: list[float] = []

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        self.seen.append(request.request_id)
        self.deadlines.append(request.deadline_s)
        if not self.quick:
            self.open[request.request_id] = asyncio.get_running_loop().create_future()
            try:
                await self.open[request.request_id]
            except asyncio.CancelledError:
                self.cancelled.append(request.request_id)
                raise
        return GenerateResult(
            prompt_token_ids=(1,), outputs=(), min_policy_version=0, max_policy_version=0, engine=self.name
        )

    def finish(self, request_id: str) -> None:
        self.open.pop(request_id).set_result(None)

    def fail(self, request_id: str, error: Exception) -> None:
        self.open.pop(request_id).set_exception(error)


def ask(name: str, deadline_s: float = 1.0) -> GenerateRequest:
    return GenerateRequest(request_id=name, prompt_token_ids=(1,), sampling=SamplingConfig(), deadline_s=deadline_s)


def send(fleet: Fleet, *names: str, deadline_s: float = 1.0) -> list[asyncio.Task]:
    return [asyncio.ensure_future(fleet.generate(ask(name, deadline_s))) for name in names]


async def pause() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test; a hang is a failure, and so is a task's error that nobody read."""
    unread: list[dict] = []

    async def guarded() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unread.append(context))
        await asyncio.wait_for(test(), 5)

    asyncio.run(guarded())
    assert not unread


def two_engines(max_concurrent: int = 2, **options) -> tuple[Fleet, FakeEngine, FakeEngine]:
    fleet, a, b = Fleet(**options), FakeEngine("a"), FakeEngine("b")
    fleet.add("a", a, max_concurrent)
    fleet.add("b", b, max_concurrent)
    return fleet, a, b


def test_the_least_loaded_engine_gets_the_request():
    async def test():
        fleet, a, b = two_engines(max_concurrent=4)
        tasks = send(fleet, "1", "2", "3")
        await pause()
        assert (a.seen, b.seen) == (["1", "3"], ["2"])
        a.finish("1")
        a.finish("3")
        await pause()
        tasks += send(fleet, "4")
        await pause()
        assert a.seen == ["1", "3", "4"]
        b.finish("2")
        a.finish("4")
        assert [task.engine for task in await asyncio.gather(*tasks)] == ["a", "b", "a", "a"]

    run(test)


def test_load_is_relative_to_what_an_engine_can_do():
    async def test():
        fleet, big, small = Fleet(), FakeEngine("big"), FakeEngine("small")
        fleet.add("small", small, 1)
        fleet.add("big", big, 3)
        tasks = send(fleet, "1", "2", "3", "4")
        await pause()
        assert (small.seen, big.seen) == (["1"], ["2", "3", "4"])
        for task in tasks:
            task.cancel()

    run(test)


def test_requests_beyond_all_room_wait_in_order():
    async def test():
        fleet, a, b = two_engines(max_concurrent=1)
        tasks = send(fleet, "1", "2", "3", "4")
        await pause()
        assert (a.seen, b.seen) == (["1"], ["2"])
        assert (fleet.metrics()["fleet/waiting"], fleet.metrics()["fleet/in_flight"]) == (2, 2)
        b.finish("2")
        await pause()
        assert (a.seen, b.seen) == (["1"], ["2", "3"])
        a.finish("1")
        await pause()
        a.finish("4")
        b.finish("3")
        await asyncio.gather(*tasks)
        assert (fleet.metrics()["fleet/waiting"], fleet.metrics()["fleet/in_flight"]) == (0, 0)

    run(test)


def test_a_request_tried_before_goes_first():
    async def test():
        fleet, a, b = two_engines(max_concurrent=1)
        tasks = send(fleet, "1", "2", "3")
        await pause()
        a.fail("1", EngineDied("a", "killed"))
        await pause()
        b.finish("2")
        await pause()
        assert b.seen == ["2", "1.try1"]
        b.finish("1.try1")
        await pause()
        b.finish("3")
        await asyncio.gather(*tasks)

    run(test)


def test_a_cancelled_request_gives_its_room_to_the_next():
    async def test():
        fleet, a = Fleet(), FakeEngine("a")
        fleet.add("a", a, 1)
        first, waiting, last = send(fleet, "1", "2", "3")
        await pause()
        waiting.cancel()
        first.cancel()
        await pause()
        assert (a.seen, a.cancelled) == (["1", "3"], ["1"])
        a.finish("3")
        assert (await last).engine == "a"
        assert fleet.metrics()["fleet/in_flight"] == 0

    run(test)


def test_room_assigned_in_the_moment_of_a_cancellation_is_not_lost():
    async def test():
        fleet, a = Fleet(), FakeEngine("a", quick=True)
        cancelled, last = send(fleet, "1", "2")
        await pause()
        fleet.add("a", a, 1)  # request 1 has the room now, and has not run since
        cancelled.cancel()
        assert (await last).engine == "a"
        assert a.seen == ["2"]
        assert fleet.metrics()["fleet/in_flight"] == 0

    run(test)


def test_invariant_8_an_engine_that_hangs_is_named_with_the_request():
    async def test():
        fleet, a = Fleet(grace_s=0.0), FakeEngine("a")
        fleet.add("a", a, 1)
        with pytest.raises(DeadlineExceeded, match=r"a.generate did not answer within 0.01 s \(request 1,") as caught:
            await fleet.generate(ask("1", 0.01))
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - made just here
        await pause()
        assert a.cancelled == ["1"]
        assert (fleet.metrics()["fleet/deadlines/a"], fleet.metrics()["fleet/in_flight"]) == (1, 0)

    run(test)


def test_invariant_8_waiting_has_the_same_deadline():
    async def test():
        fleet = Fleet()
        with pytest.raises(DeadlineExceeded, match="waiting for an engine with room: 0 serving, 0 held, 0 quarant"):
            await fleet.generate(ask("1", 0.01))
        assert fleet.metrics()["fleet/waiting"] == 0

    run(test)


def test_the_engines_own_deadline_passes_through_and_a_retry_has_less_of_it():
    async def test():
        fleet, a, b = two_engines(max_concurrent=1)
        (task,) = send(fleet, "1", deadline_s=1.0)
        await asyncio.sleep(0.02)
        a.fail("1", EngineDied("a", "killed"))
        await pause()
        assert 0.5 < b.deadlines[0] <= 0.98
        b.fail("1.try1", DeadlineExceeded("b", "generate", "request 1", 0.98))
        with pytest.raises(DeadlineExceeded, match=r"^b\.generate"):
            await task
        assert fleet.metrics()["fleet/deadlines/b"] == 1

    run(test)


def test_a_dead_engine_leaves_once_and_its_requests_go_elsewhere():
    async def test():
        deaths = []
        fleet, a, b = two_engines(on_death=lambda *death: deaths.append(death))
        tasks = send(fleet, "1", "2", "3", "4")
        await pause()
        a.fail("1", EngineDied("a", "killed"))
        a.fail("3", EngineDied("a", "killed"))  # in the same moment
        await pause()
        assert deaths == [("a", "killed")]
        assert fleet.states() == {"b": EngineState.SERVING}
        b.finish("2")
        b.finish("4")
        await pause()
        b.finish("1.try1")
        b.finish("3.try1")
        assert {task.engine for task in await asyncio.gather(*tasks)} == {"b"}
        assert (fleet.metrics()["fleet/deaths"], fleet.metrics()["fleet/retries"]) == (1, 2)

    run(test)


def test_without_engines_requests_wait_for_a_replacement():
    async def test():
        fleet, a, b = Fleet(), FakeEngine("a"), FakeEngine("a", quick=True)
        fleet.add("a", a, 1)
        (task,) = send(fleet, "1")
        await pause()
        a.fail("1", EngineDied("a", "killed"))
        await pause()
        assert not task.done()
        fleet.add("a", b, 1)
        assert (await task).engine == "a"
        assert b.seen == ["1.try1"]

    run(test)


def test_a_request_that_kills_engines_is_given_up():
    async def test():
        fleet, engines = Fleet(max_deaths=1), [FakeEngine(name) for name in "abc"]
        for engine in engines:
            fleet.add(engine.name, engine, 1)
        (task,) = send(fleet, "1")
        await pause()
        engines[0].fail("1", EngineDied("a", "out of memory"))
        await pause()
        engines[1].fail("1.try1", EngineDied("b", "out of memory"))
        with pytest.raises(EngineDied, match="engine b died"):
            await task
        assert fleet.states() == {"c": EngineState.SERVING}

    run(test)


def test_an_engines_refusal_reaches_the_caller_and_costs_no_engine():
    async def test():
        fleet, a, _ = two_engines()
        (task,) = send(fleet, "1")
        await pause()
        a.fail("1", ValueError("the prompt has 600 tokens"))
        with pytest.raises(ValueError, match="600 tokens"):
            await task
        assert len(fleet.states()) == 2
        assert fleet.metrics()["fleet/in_flight"] == 0

    run(test)


def test_an_answer_under_way_at_a_quarantine_does_not_count():
    async def test():
        fleet, a, b = two_engines()
        (task,) = send(fleet, "1")
        await pause()
        fleet.quarantine("a", "parity 0.7 above 0.05")
        await pause()
        assert (a.cancelled, b.seen) == (["1"], ["1.try1"])
        b.finish("1.try1")
        assert (await task).engine == "b"
        assert fleet.metrics()["fleet/discarded"] == 1

    run(test)


def test_an_answer_in_the_moment_of_a_quarantine_does_not_count():
    async def test():
        fleet, a, b = two_engines()
        b.quick = True
        (task,) = send(fleet, "1")
        await pause()
        a.finish("1")
        fleet.quarantine("a", "wrong checksum")
        fleet.restore("a", 2)  # even if the engine is well again at once
        fleet.hold("a")
        assert (await task).engine == "b"

    run(test)


def test_invariant_4_answers_of_a_held_engine_wait_for_its_release():
    async def test():
        fleet, a, b = two_engines()
        first, _ = send(fleet, "1", "2")
        await pause()
        fleet.hold("a")
        a.finish("1")
        await pause()
        assert not first.done()
        third = send(fleet, "3")[0]
        await pause()
        assert (a.seen, b.seen) == (["1"], ["2", "3"])  # no new request either
        fleet.release("a", version=3)
        assert (await first).engine == "a"
        assert fleet.metrics()["fleet/version/a"] == 3
        for name in ("2", "3"):
            b.finish(name)
        await third

    run(test)


def test_invariant_4_answers_of_a_held_engine_are_lost_with_its_quarantine():
    async def test():
        fleet, a, b = two_engines()
        (task,) = send(fleet, "1")
        await pause()
        fleet.hold("a")
        a.finish("1")
        await pause()
        fleet.quarantine("a", "wrong checksum")
        await pause()
        assert b.seen == ["1.try1"]
        b.finish("1.try1")
        assert (await task).engine == "b"
        tasks = send(fleet, "2", "3")
        await pause()
        assert (a.seen, b.seen) == (["1"], ["1.try1", "2", "3"])
        with pytest.raises(ValueError, match=r"'a' is quarantined \(wrong checksum\): verify it and restore it"):
            fleet.release("a")
        b.finish("2")
        b.finish("3")
        await asyncio.gather(*tasks)

    run(test)


def test_a_restored_engine_takes_waiting_requests():
    async def test():
        fleet, a = Fleet(), FakeEngine("a", quick=True)
        fleet.add("a", a, 1)
        fleet.quarantine("a", "wrong checksum")
        (task,) = send(fleet, "1")
        await pause()
        assert fleet.metrics()["fleet/waiting"] == 1
        fleet.restore("a", version=7)
        assert (await task).engine == "a"
        assert fleet.metrics()["fleet/version/a"] == 7

    run(test)


def test_an_engine_held_after_its_room_was_assigned_does_not_get_the_request():
    async def test():
        fleet, a = Fleet(), FakeEngine("a", quick=True)
        (task,) = send(fleet, "1")
        await pause()
        fleet.add("a", a, 1)  # the request has the room now, and has not run since
        fleet.hold("a")
        await pause()
        assert a.seen == []
        fleet.release("a")
        assert (await task).engine == "a"

    run(test)


def test_an_engine_that_dies_while_held_does_not_keep_its_requests():
    async def test():
        fleet, a, b = two_engines()
        b.quick = True
        (task,) = send(fleet, "1")
        await pause()
        fleet.hold("a")
        a.fail("1", EngineDied("a", "killed"))
        assert (await task).engine == "b"
        assert fleet.states() == {"b": EngineState.SERVING}

    run(test)


def test_a_hold_without_end_has_a_deadline():
    async def test():
        fleet, a = Fleet(grace_s=0.0), FakeEngine("a")
        fleet.add("a", a, 1)
        (task,) = send(fleet, "1", deadline_s=0.02)
        await pause()
        fleet.hold("a")
        a.finish("1")
        with pytest.raises(DeadlineExceeded, match=r"^a\.generate .* engine held"):
            await task

    run(test)


def test_a_removed_engine_is_forgotten_and_its_requests_go_elsewhere():
    async def test():
        fleet, _, b = two_engines()
        b.quick = True
        (task,) = send(fleet, "1")
        await pause()
        fleet.remove("a", "node lost")
        assert (await task).engine == "b"
        with pytest.raises(ValueError, match=r"no engine 'a'; it has \['b'\]"):
            fleet.hold("a")

    run(test)


def test_names_are_unique_and_room_is_positive():
    fleet, a, _ = two_engines()
    with pytest.raises(ValueError, match="an engine 'a' already"):
        fleet.add("a", a, 1)
    with pytest.raises(ValueError, match="max_concurrent of at least 1, got 0"):
        fleet.add("c", a, 0)
