import asyncio
import random
from collections.abc import Sequence

import pytest

from actors import controller as controller_module
from actors.callbook import CALLS
from actors.clock import BusyClock
from actors.controller import Controller
from actors.gate import VersionGate
from learner.types import StepMetrics, TrainSample
from rollout.types import GradedGroup
from tests.actors.fakes import group, oldest, run, step_metrics, ticks, until

PER_STEP = 3


class World:
    """A learner, a fleet that holds one version, and fills that take their time and their versions from it."""

    def __init__(self, lag: int, seed: int = 0, first_step: int = 0, slowest_fill: int = 12) -> None:
        self.lag, self.random, self.slowest_fill = lag, random.Random(seed), slowest_fill
        self.first_step = self.trained_version = self.fleet_version = first_step
        self.lock = asyncio.Lock()
        self.filling = 0
        self.filled_while_training = 0
        self.started: list[int] = []
        self.trained_slots: list[int] = []
        self.lags: list[int] = []
        self.seconds: list[dict[str, float]] = []
        self.checkpoints: list[int] = []
        self.notes: list[str] = []
        self.fail: dict[str, Exception] = {}
        self.cancelled_fills = 0
        self.in_training = False

    def controller(self) -> Controller:
        return Controller(
            fill=self.fill,
            trainer=self,
            publish=self.publish,
            checkpoint=self.checkpoint,
            is_checkpoint_step=lambda step: step % 4 == 0,
            events=self,
            clock=BusyClock(),
            learner_lock=self.lock,
            groups_per_step=PER_STEP,
            max_policy_lag=self.lag,
        )

    def _may_fail(self, what: str) -> None:
        if error := self.fail.get(what):
            raise error

    async def fill(self, index: int) -> GradedGroup:
        self.filling += 1
        self.started.append(index)
        try:
            for _ in range(self.random.choice((1, 1, 1, 2))):  # an attempt that is filtered is followed by another
                version = self.fleet_version
                await ticks(self.random.randint(0, self.slowest_fill))
            self._may_fail(f"fill {index}")
            return group(index, version)
        except asyncio.CancelledError:
            self.cancelled_fills += 1
            self._may_fail("clean-up of a fill")
            raise
        finally:
            self.filling -= 1

    def samples(self, groups: Sequence[GradedGroup], step: int) -> list[TrainSample]:
        self._may_fail("samples")
        self.lags += [step - oldest(each) for each in groups]
        self.trained_slots += [each.group.slot.index for each in groups]
        return []

    async def train_step(self, samples: list[TrainSample], step: int) -> StepMetrics:
        assert self.lock.locked(), "weights change while a replacement may be sent them"
        assert step == self.trained_version == self.fleet_version
        self.in_training = True
        for _ in range(self.random.randint(5, 30)):
            self.filled_while_training = max(self.filled_while_training, self.filling)
            await ticks(1)
        self._may_fail(f"train {step}")
        self.trained_version += 1
        self.in_training = False
        return step_metrics(self.trained_version)

    async def publish(self, version: int) -> None:
        assert self.lock.locked(), "weights are sent while a replacement may be sent others"
        assert version == self.trained_version
        await ticks(self.random.randint(0, 5))
        self._may_fail(f"publish {version}")
        self.fleet_version = version

    def trained(self, groups: Sequence[GradedGroup], metrics: StepMetrics, seconds: dict[str, float]) -> None:
        self._may_fail(f"trained {metrics.step}")
        self.seconds.append(seconds)

    async def checkpoint(self, version: int) -> None:
        assert not self.lock.locked()
        assert version == self.trained_version == self.first_step + len(self.seconds)
        self._may_fail(f"checkpoint {version}")
        self.checkpoints.append(version)

    def note(self, text: str) -> None:
        self._may_fail("note")
        self.notes.append(text)


def test_every_slot_is_trained_once_in_its_step_and_in_order():
    async def test():
        world = World(lag=2)
        await world.controller().run(0, 9)
        assert world.trained_slots == list(range(9 * PER_STEP))
        assert world.started == list(range(9 * PER_STEP))
        assert world.checkpoints == [4, 8]
        assert all({"wait", "train", "sync", "step"} <= set(each) for each in world.seconds)
        assert "generate and grade" in world.seconds[0]

    run(test)


def test_a_resumed_run_begins_at_its_step_and_ends_at_the_last():
    async def test():
        world = World(lag=1, first_step=5)
        await world.controller().run(5, 8)
        assert world.trained_slots == list(range(5 * PER_STEP, 8 * PER_STEP))
        done = World(lag=1, first_step=8)
        await done.controller().run(8, 8)
        assert done.started == []

    run(test)


@pytest.mark.parametrize("lag", [0, 1, 2, 3])
def test_no_trained_group_is_older_than_the_lag(lag):
    worst: list[int] = []

    async def test(seed):
        world = World(lag, seed)
        await world.controller().run(0, 12)
        assert world.trained_slots == list(range(12 * PER_STEP))
        assert min(world.lags) >= 0
        assert max(world.lags) <= lag
        worst.append(max(world.lags))

    for seed in range(25):
        run(lambda seed=seed: test(seed))
    assert max(worst) == lag, "the lag that is allowed is never used: generation does not run ahead"


@pytest.mark.parametrize(("lag", "overlaps"), [(0, False), (1, True), (3, True)])
def test_generation_overlaps_training_when_it_may_lag_and_never_when_it_may_not(lag, overlaps):
    async def test():
        world = World(lag, seed=1, slowest_fill=200)
        await world.controller().run(0, 10)
        assert (world.filled_while_training > 0) is overlaps

    run(test)


def test_generation_runs_at_most_the_lag_ahead():
    async def test():
        world = World(lag=2)
        await world.lock.acquire()  # the learner is busy elsewhere: nothing can be trained
        running = asyncio.create_task(world.controller().run(0, 10))
        await ticks(500)
        assert world.started == list(range(3 * PER_STEP))
        world.lock.release()
        await running

    run(test)


PLACES = ["fill 0", "fill 7", "samples", "train 0", "train 3", "publish 1", "publish 4", "trained 2", "checkpoint 4"]


@pytest.mark.parametrize("lag", [0, 2])
@pytest.mark.parametrize("place", PLACES)
def test_whatever_fails_ends_the_run_with_that_very_error_and_nothing_is_left(place, lag):
    async def test():
        world, error = World(lag), RuntimeError(f"broken: {place}")
        error.__cause__ = cause = OSError("no space left")
        world.fail[place] = error
        with pytest.raises(RuntimeError) as caught:
            await world.controller().run(0, 6)
        assert caught.value is error
        assert caught.value.__cause__ is cause
        assert world.filling == 0
        assert not world.lock.locked()

    run(test)


def test_a_failing_dispatch_ends_the_run(monkeypatch):
    async def test():
        world, error = World(lag=1), RuntimeError("no more slots")
        wait_for_step = VersionGate.wait_for_step

        async def fails_later(gate, step):
            if step == 4:
                raise error
            await wait_for_step(gate, step)

        monkeypatch.setattr(VersionGate, "wait_for_step", fails_later)
        with pytest.raises(RuntimeError) as caught:
            await world.controller().run(0, 6)
        assert caught.value is error

    run(test)


def test_the_first_failure_is_the_one_that_is_told_even_when_ending_the_others_fails():
    async def test():
        world, error = World(lag=2, slowest_fill=500), RuntimeError("the learner is gone")
        world.fail |= {"train 1": error, "clean-up of a fill": OSError("while cleaning up")}
        with pytest.raises(RuntimeError) as caught:
            await world.controller().run(0, 6)
        assert caught.value is error
        assert world.cancelled_fills > 0

    run(test)


def test_a_failing_slot_that_is_not_waited_for_yet_ends_the_run_at_once():
    async def test():
        world, error = World(lag=3), RuntimeError("broken")
        world.fail[f"fill {2 * PER_STEP}"] = error
        await world.lock.acquire()  # step 0 will never be trained
        with pytest.raises(RuntimeError) as caught:
            await world.controller().run(0, 6)
        assert caught.value is error

    run(test)


def test_a_group_of_errors_is_told_by_its_first():
    async def test():
        world, error = World(lag=0), ValueError("the judge's template is broken")
        world.fail["fill 1"] = ExceptionGroup("two verdicts", [ExceptionGroup("inner", [error]), OSError("other")])
        with pytest.raises(ValueError, match="template") as caught:
            await world.controller().run(0, 6)
        assert caught.value is error

    run(test)


def test_cancelling_the_run_cancels_everything():
    async def test():
        world = World(lag=2, slowest_fill=1000)
        running = asyncio.create_task(world.controller().run(0, 6))
        await until(lambda: world.filling > 0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert world.filling == 0

    run(test)


def test_the_watchdog_names_the_call_that_does_not_answer_once(monkeypatch):
    monkeypatch.setattr(controller_module, "STUCK_AFTER_S", 0.02)

    async def test():
        world = World(lag=0)
        fill = world.fill

        async def stuck(index: int) -> GradedGroup:
            if index == 4:
                with CALLS.entry("rollout-engine-1", "generate", "request 4.0"):
                    await until_noted(world)
            return await fill(index)

        world.fill = stuck
        await world.controller().run(0, 3)
        assert len(world.notes) == 1
        assert world.notes[0].startswith("rollout-engine-1.generate has not answered for 0 s (request 4.0)")

    run(test)


async def until_noted(world: World) -> None:
    for _ in range(1000):
        if world.notes:
            break
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.03)  # several more rounds of the watchdog: it has said it already


def test_a_quick_run_is_not_noted():
    async def test():
        world = World(lag=1)
        with CALLS.entry("evaluator-0", "run", "sums of step 4"):
            await world.controller().run(0, 4)
        assert world.notes == []

    run(test)
