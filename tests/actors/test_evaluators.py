import asyncio
import math

import pytest

from actors.clock import BusyClock
from actors.controller import Controller
from actors.evaluators import CheckpointNotHeld, EvaluatorPool, check_held
from tests.actors.fakes import FakeEvaluator, FakeLearner, Listener, group, job, result, run, ticks, until

NAMES = ("sums", "deception")


def pool_of(*evaluators: FakeEvaluator, max_tries: int = 2) -> tuple[EvaluatorPool, Listener]:
    listener = Listener()
    return EvaluatorPool(evaluators, NAMES, listener, max_tries), listener


async def drained(pool: EvaluatorPool) -> None:
    await pool.drain(5)
    await pool.stop()


def test_every_checkpoint_is_evaluated_under_its_own_name_in_the_order_submitted():
    async def test():
        evaluator = FakeEvaluator()
        pool, listener = pool_of(evaluator)
        pool.start()
        for step in (0, 4, 8):
            pool.submit(job(step))
        assert pool.num_open == 3
        await drained(pool)
        assert pool.num_open == 0
        assert listener.suites == [("run", 0, NAMES), ("run", 4, NAMES), ("run", 8, NAMES)]
        assert [each.score for each in listener.results] == [0.0, 0.0, 0.04, 0.04, 0.08, 0.08]
        assert evaluator.replaced == listener.failures == []

    run(test)


def test_two_evaluators_share_the_queue_and_nothing_is_lost_or_done_twice():
    async def test():
        evaluators = FakeEvaluator("evaluator-0"), FakeEvaluator("evaluator-1")
        pool, listener = pool_of(*evaluators)
        pool.start()
        for step in range(10):
            pool.submit(job(step))
        await drained(pool)
        assert sorted(step for _, step, _ in listener.suites) == list(range(10))
        assert all(evaluator.ran for evaluator in evaluators)

    run(test)


def test_what_is_submitted_before_the_start_waits_for_it():
    async def test():
        pool, listener = pool_of(FakeEvaluator())
        pool.submit(job(3))
        pool.start()
        await drained(pool)
        assert [step for _, step, _ in listener.suites] == [3]

    run(test)


def test_a_hanging_evaluator_does_not_stall_training_and_the_drain_waits_for_it():
    async def test():
        evaluator, learner, lags = FakeEvaluator(), FakeLearner(), []
        evaluator.hang.clear()
        pool, listener = pool_of(evaluator)
        pool.start()

        async def checkpoint(step: int) -> None:
            pool.submit(job(step))

        class Book:
            def samples(self, groups, step):
                lags.append(step)
                return []

            def trained(self, groups, metrics, seconds): ...

        async def fill(index: int):
            return group(index, learner.version)

        async def publish(version: int) -> None:
            await ticks(1)

        controller = Controller(
            fill=fill, trainer=learner, publish=publish, checkpoint=checkpoint, is_checkpoint_step=lambda step: True,
            events=Book(), clock=BusyClock(), learner_lock=asyncio.Lock(), groups_per_step=2, max_policy_lag=1,
        )  # fmt: skip
        await controller.run(0, 6)
        assert learner.version == 6
        assert (pool.num_open, listener.suites) == (6, [])
        draining = asyncio.create_task(pool.drain(5))
        await ticks(50)
        assert not draining.done()
        evaluator.hang.set()
        await draining
        await pool.stop()
        assert [step for _, step, _ in listener.suites] == [1, 2, 3, 4, 5, 6]

    run(test)


def test_a_drain_that_takes_too_long_says_how_many_checkpoints_are_open():
    async def test():
        evaluator = FakeEvaluator()
        pool, _ = pool_of(evaluator)
        pool.start()
        pool.submit(job(1))
        await until(lambda: pool.num_open == 0)
        evaluator.hang.clear()
        for step in (2, 3, 4):
            pool.submit(job(step))
        with pytest.raises(TimeoutError, match=r"within 0.02 s: 3 checkpoints are open"):
            await pool.drain(0.02)
        await pool.stop()

    run(test)


def test_a_failing_checkpoint_is_recorded_and_the_next_one_gets_a_new_evaluator():
    async def test():
        evaluator = FakeEvaluator()
        evaluator.fail = lambda job, call: RuntimeError("no such file") if (job.step, call) == (4, "load") else None
        pool, listener = pool_of(evaluator)
        pool.start()
        for step in (0, 4, 8):
            pool.submit(job(step))
        await drained(pool)
        assert [step for _, step, _ in listener.suites] == [0, 8]
        assert listener.failures == [
            (4, "try 1 of 2: RuntimeError: no such file"),
            (4, "try 2 of 2: RuntimeError: no such file"),
        ]
        assert evaluator.replaced == ["RuntimeError: no such file"] * 2

    run(test)


def test_a_checkpoint_that_an_evaluator_died_of_once_is_tried_again_and_not_evaluated_twice():
    async def test():
        evaluator = FakeEvaluator()
        failures = [RuntimeError("died")]
        evaluator.fail = lambda job, call: failures.pop() if call == "deception" and failures else None
        pool, listener = pool_of(evaluator)
        pool.start()
        for step in (4, 8):
            pool.submit(job(step))
        await drained(pool)
        assert listener.suites == [("run", 4, NAMES), ("run", 8, NAMES)]
        assert evaluator.ran[:2] == [("run", 4, "sums"), ("run", 4, "deception")]
        assert [step for step, _ in listener.failures] == [4]
        assert evaluator.replaced == ["RuntimeError: died"]

    run(test)


def test_a_replacement_that_does_not_start_is_recorded_and_tried_again_for_the_next_checkpoint():
    async def test():
        evaluator = FakeEvaluator()
        evaluator.fail = lambda job, call: RuntimeError("died") if job.step == 4 else None
        evaluator.fail_replace = [TimeoutError("not started"), TimeoutError("not started")]
        pool, listener = pool_of(evaluator)
        pool.start()
        for step in (4, 8, 12):
            pool.submit(job(step))
        await drained(pool)
        assert [step for _, step, _ in listener.suites] == [8, 12]
        assert listener.failures == [
            (4, "try 1 of 2: RuntimeError: died"),
            (4, "try 2 of 2: TimeoutError: not started"),
            (8, "try 1 of 2: TimeoutError: not started"),
        ]

    run(test)


def test_a_worker_that_ends_is_told_by_the_drain():
    async def test():
        pool, listener = pool_of(FakeEvaluator())
        broken = OSError("no space left")
        evaluator_fails = ValueError("broken checkpoint")

        def failed(job, reason):
            raise broken

        listener.failed = failed
        pool._evaluators[0].fail = lambda job, call: evaluator_fails
        pool.start()
        pool.submit(job(1))
        pool.submit(job(2))
        with pytest.raises(OSError, match="no space left"):
            await pool.drain(5)
        await pool.stop()

    run(test)


def test_equal_weights_are_evaluated_once_and_reported_under_each_runs_name():
    async def test():
        evaluator = FakeEvaluator()
        pool, listener = pool_of(evaluator)
        pool.start()
        pool.submit(job(0, "baseline-seed0", "same"))
        pool.submit(job(0, "multi_domain-seed0", "same"))
        pool.submit(job(5, "multi_domain-seed0", "other"))
        await drained(pool)
        assert listener.suites == [
            ("baseline-seed0", 0, NAMES),
            ("multi_domain-seed0", 0, NAMES),
            ("multi_domain-seed0", 5, NAMES),
        ]
        assert [each[0] for each in evaluator.ran] == ["baseline-seed0"] * 2 + ["multi_domain-seed0"] * 2
        assert [each.score for each in listener.results] == [0.0] * 4 + [0.05] * 2

    run(test)


def test_results_of_an_earlier_process_are_not_computed_again():
    async def test():
        evaluator = FakeEvaluator()
        pool, listener = pool_of(evaluator)
        pool.remember([result(job(3, "old", "same"), "sums")])
        pool.start()
        pool.submit(job(7, "new", "same"))
        await drained(pool)
        assert evaluator.ran == [("new", 7, "deception")]
        assert [(each.run, each.step, each.evaluation) for each in listener.results] == [
            ("new", 7, "sums"),
            ("new", 7, "deception"),
        ]
        assert listener.results[0].score == 0.03

    run(test)


def test_without_evaluators_nothing_is_open_and_the_drain_ends():
    async def test():
        pool, _ = pool_of()
        pool.start()
        pool.submit(job(1))
        assert pool.num_open == 0
        await drained(pool)

    run(test)


def test_the_probe_may_differ_by_the_tolerance():
    check_held(job(1), (-1.05, -1.96), tolerance=0.0501)


@pytest.mark.parametrize(
    ("logprobs", "words"),
    [
        ((-1.0, -2.06), r"step 1 of run: .* differ by 0.060 nats \(allowed: 0.05\)"),
        ((-1.0,), "step 1 of run"),
        ((-1.0, -2.0, -3.0), "step 1 of run"),
        ((-1.0, math.nan), "step 1 of run"),
        ((math.nan, -2.0), "step 1 of run"),
        ((-math.inf, -2.0), "step 1 of run"),
    ],
)
def test_an_engine_that_holds_other_weights_is_found_out(logprobs, words):
    with pytest.raises(CheckpointNotHeld, match=words):
        check_held(job(1), logprobs, tolerance=0.05)
