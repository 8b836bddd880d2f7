import asyncio

import pytest

from actors.gate import VersionGate
from tests.actors.fakes import run, ticks


@pytest.mark.parametrize(("lag", "version", "furthest"), [(0, 0, 0), (1, 0, 1), (3, 0, 3), (0, 7, 7), (2, 7, 9)])
def test_steps_up_to_version_plus_lag_may_be_dispatched_and_no_further(lag, version, furthest):
    async def test():
        gate = VersionGate(lag, version)
        await gate.wait_for_step(furthest)
        beyond = asyncio.create_task(gate.wait_for_step(furthest + 1))
        await ticks(5)
        assert not beyond.done()
        await gate.advance(version + 1)
        await beyond
        assert gate.version == version + 1

    run(test)


def test_one_advance_lets_all_who_wait_for_it_go_and_only_them():
    async def test():
        gate = VersionGate(1)
        waiting = [asyncio.create_task(gate.wait_for_step(step)) for step in (2, 2, 3, 4)]
        await ticks(5)
        assert [task.done() for task in waiting] == [False, False, False, False]
        await gate.advance(2)
        await ticks(5)
        assert [task.done() for task in waiting] == [True, True, True, False]
        await gate.advance(3)
        await waiting[3]

    run(test)
