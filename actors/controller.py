"""The controller of one run: three loops that overlap, and what holds them back.

    dispatch loop ── slot n ──> filler (fleet, graders) ── graded group ──> train loop ──> learner
         ^                                                                      │
         │ the gate opens when the fleet holds a new version                    ├─> sync ──> fleet
         └──────────────────────────────────────────────────────────────────────┤
                                                    checkpoint ──> evaluators <─┘

Back pressure: the gate lets generation run at most `max_policy_lag` versions ahead (see `gate`), the
fleet holds requests when its engines are full, and the train loop waits for exactly the slots of its
step, in order. Evaluation has its own engines and is never waited for here.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from actors.callbook import CALLS
from actors.clock import BusyClock
from actors.gate import VersionGate
from actors.tasks import task_group
from learner.types import StepMetrics, TrainSample
from rollout.types import GradedGroup

STUCK_AFTER_S = 60.0
"""A remote call that is open for longer than this is named to the user, long before its deadline."""


class Trainer(Protocol):
    """The learner, all ranks together."""

    async def train_step(self, samples: list[TrainSample], step: int) -> StepMetrics:
        """Do one optimizer step; `step` is how many were done before."""
        ...


class Events(Protocol):
    """What the controller tells its run's book; see `actors.book`."""

    def samples(self, groups: Sequence[GradedGroup], step: int) -> list[TrainSample]:
        """Turn the groups of optimizer step `step` (from 0) into train samples."""
        ...

    def trained(self, groups: Sequence[GradedGroup], metrics: StepMetrics, seconds: dict[str, float]) -> None:
        """Record that a step was trained and synced."""
        ...

    def note(self, text: str) -> None:
        """Tell the user something in words."""
        ...


class Controller:
    """Runs the optimizer steps of one arm and seed."""

    def __init__(
        self,
        *,
        fill: Callable[[int], Awaitable[GradedGroup]],
        trainer: Trainer,
        publish: Callable[[int], Awaitable[None]],
        checkpoint: Callable[[int], Awaitable[None]],
        is_checkpoint_step: Callable[[int], bool],
        events: Events,
        clock: BusyClock,
        learner_lock: asyncio.Lock,
        groups_per_step: int,
        max_policy_lag: int,
    ) -> None:
        """Wire a run together.

        `fill(n)` gives slot n's graded group; `publish(v)` brings version v to every engine, verified;
        `checkpoint(v)` writes a checkpoint of version v and hands it to the evaluators; `learner_lock` keeps
        replacement engines from being sent weights while a step changes them.
        """
        self._fill, self._trainer, self._publish = fill, trainer, publish
        self._checkpoint, self._is_checkpoint_step = checkpoint, is_checkpoint_step
        self._events, self._clock, self._learner_lock = events, clock, learner_lock
        self._groups_per_step, self._max_policy_lag = groups_per_step, max_policy_lag
        self._slots: dict[int, asyncio.Task[GradedGroup]] = {}
        self._dispatched = asyncio.Condition()

    async def run(self, first_step: int, num_steps: int) -> None:
        """Train optimizer steps first_step .. num_steps - 1 (from 0).

        Raises:
            Exception: the first failure of any loop, with its own type; everything else is cancelled.
        """
        self._gate = VersionGate(self._max_policy_lag, version=first_step)
        async with task_group() as group:
            watch = group.create_task(self._watch(), name="watchdog")
            group.create_task(self._dispatch_loop(first_step, num_steps, group), name="dispatch loop")
            await group.create_task(self._train_loop(first_step, num_steps), name="train loop")
            watch.cancel()

    async def _dispatch_loop(self, first_step: int, num_steps: int, group: asyncio.TaskGroup) -> None:
        """Start slots in order. Waits for the gate; unblocked by `publish`; produces slot tasks."""
        for step in range(first_step, num_steps):
            await self._gate.wait_for_step(step)
            async with self._dispatched:
                for index in self._indices(step):
                    self._slots[index] = group.create_task(self._filled(index), name=f"slot {index}")
                self._dispatched.notify_all()

    async def _train_loop(self, first_step: int, num_steps: int) -> None:
        """Train each step's slots once all are graded, then publish. Consumes slot tasks; opens the gate."""
        for step in range(first_step, num_steps):
            started = time.monotonic()
            with self._clock.busy("wait"):
                groups = await self._batch(step)
            metrics = await self._train(groups, step)
            await self._gate.advance(step + 1)
            seconds = self._clock.take() | {"step": time.monotonic() - started}
            self._events.trained(groups, metrics, seconds)
            if self._is_checkpoint_step(step + 1):
                with self._clock.busy("checkpoint"):
                    await self._checkpoint(step + 1)

    async def _train(self, groups: Sequence[GradedGroup], step: int) -> StepMetrics:
        """Change the weights and publish them under one lock, so that nobody is sent half of it."""
        async with self._learner_lock:
            with self._clock.busy("train"):
                metrics = await self._trainer.train_step(self._events.samples(groups, step), step)
            with self._clock.busy("sync"):
                await self._publish(step + 1)
        return metrics

    async def _batch(self, step: int) -> list[GradedGroup]:
        indices = self._indices(step)
        async with self._dispatched:
            await self._dispatched.wait_for(lambda: all(index in self._slots for index in indices))
        return list(await asyncio.gather(*(self._slots.pop(index) for index in indices)))

    async def _filled(self, index: int) -> GradedGroup:
        with self._clock.busy("generate and grade"):
            return await self._fill(index)

    async def _watch(self) -> None:
        """Name whoever has not answered for long; the deadlines themselves are the calls' own."""
        named = None
        while True:
            await asyncio.sleep(STUCK_AFTER_S / 4)
            call = CALLS.oldest(longer_than_s=STUCK_AFTER_S)
            if call is not None and call != named:
                waited = time.monotonic() - call.since
                self._events.note(f"{call.actor}.{call.method} has not answered for {waited:.0f} s ({call.what})")
            named = call

    def _indices(self, step: int) -> range:
        return range(step * self._groups_per_step, (step + 1) * self._groups_per_step)
