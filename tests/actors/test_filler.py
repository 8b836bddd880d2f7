import msgspec
import pytest

from actors.filler import Attempt, SlotFiller, SourceFailed
from rollout.config import RolloutConfig
from rollout.diagnosis import Diagnosis
from rollout.engine import DeadlineExceeded, EngineDied
from rollout.types import GradedGroup, SamplingConfig, Slot
from tests.actors.fakes import PROMPTS, FakeGenerator, FakeGrader, run, slot

VARIED, EQUAL, UNGRADED = (1.0, 0.0, 0.5), (1.0, 1.0, 1.0), (None, None, None)
CONFIG = RolloutConfig(
    sampling=SamplingConfig(num_samples=3, temperature=0.7), request_timeout_s=42.0, max_attempts=3, max_failures=4
)


class Bench:
    """A filler, and everything that it told."""

    def __init__(self, *rewards: tuple[float | None, ...]) -> None:
        """`rewards[n]` are those of attempt n."""
        self.generator = FakeGenerator(version=iter(range(5, 100)).__next__)
        self.grader = FakeGrader(lambda slot: rewards[slot.attempt])
        self.kept: list[GradedGroup] = []
        self.told: list[Attempt] = []
        self.log: list[str] = []
        self.diagnosis = Diagnosis()
        self.filler = SlotFiller(self.draw, self.generator, self.grader, self.keep, self.listen, CONFIG, self.diagnosis)

    def draw(self, index: int, attempt: int) -> Slot:
        self.log.append(f"draw {index}.{attempt}")
        return slot(index, attempt)

    def keep(self, graded: GradedGroup) -> None:
        self.log.append(f"keep {graded.group.slot.index}.{graded.group.slot.attempt}")
        self.kept.append(graded)

    def listen(self, attempt: Attempt) -> None:
        self.log.append(f"told {attempt.slot.index}.{attempt.slot.attempt}")
        self.told.append(attempt)

    def fill(self, index: int = 7) -> GradedGroup:
        return run(lambda: self.filler.fill(index))

    @property
    def reasons(self) -> list[str]:
        return [attempt.reason for attempt in self.told]


def test_a_varied_group_is_trained_at_once():
    bench = Bench(VARIED)
    graded = bench.fill()
    assert [grade.reward for grade in graded.grades] == [1.0, 0.0, 0.5]
    assert bench.told == [Attempt(slot=slot(7, 0), graded=graded, reason="")]
    assert bench.kept == [graded]


def test_the_request_asks_for_the_slots_prompt_as_configured():
    bench = Bench(EQUAL, VARIED)
    bench.fill()
    first, second = bench.generator.requests
    assert (first.request_id, second.request_id) == ("7.0", "7.1")
    assert (first.messages, second.messages) == (PROMPTS[0].messages, PROMPTS[1].messages)
    assert (first.sampling, first.deadline_s) == (CONFIG.sampling, 42.0)


def test_the_group_carries_everything_that_the_engine_said():
    group = Bench(VARIED).fill().group
    assert (group.slot, group.engine, group.prompt_token_ids) == (slot(7), "engine-0", (1, 2, 3))
    assert [completion.completion_id for completion in group.completions] == ["7.0.0", "7.0.1", "7.0.2"]
    third = group.completions[2]
    assert (third.text, third.token_ids, third.logprobs) == ("text 2", (0, 1, 2), (-0.5, -0.5, -0.5))
    assert (third.min_policy_version, third.max_policy_version, third.finish_reason) == (5, 6, "stop")


def test_a_group_without_variance_is_filtered_and_the_slots_next_prompt_is_tried():
    bench = Bench(EQUAL, VARIED)
    graded = bench.fill()
    assert graded.group.slot == slot(7, 1)
    assert bench.reasons == ["zero variance", ""]
    assert [attempt.filtered for attempt in bench.told] == [True, False]
    assert bench.told[0].graded is not None


def test_each_attempt_is_kept_before_it_is_judged_and_told_before_the_next_is_drawn():
    bench = Bench(EQUAL, VARIED)
    bench.fill()
    assert bench.log == ["draw 7.0", "keep 7.0", "told 7.0", "draw 7.1", "keep 7.1", "told 7.1"]


def test_after_max_attempts_a_group_without_variance_is_trained_without_signal():
    bench = Bench(EQUAL, EQUAL, EQUAL)
    graded = bench.fill()
    assert graded.group.slot.attempt == 2
    assert bench.reasons == ["zero variance", "zero variance", ""]
    assert [attempt.without_signal for attempt in bench.told] == [False, False, True]


def test_a_varied_last_attempt_has_its_signal():
    bench = Bench(EQUAL, EQUAL, VARIED)
    bench.fill()
    assert bench.told[-1].without_signal is False


def test_failures_do_not_use_up_the_attempts_that_filtering_has():
    bench = Bench(UNGRADED, EQUAL, UNGRADED, EQUAL, UNGRADED, EQUAL)
    graded = bench.fill()
    assert graded.group.slot.attempt == 5
    assert [attempt.filtered for attempt in bench.told] == [False, True, False, True, False, False]
    assert bench.told[-1].without_signal is True


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (EngineDied("engine-0", "out of memory"), "EngineDied: engine engine-0 died: out of memory"),
        (
            DeadlineExceeded("engine-0", "generate", "request 7.0", 42),
            "DeadlineExceeded: engine-0.generate did not answer within 42 s (request 7.0)",
        ),
        (ValueError("the prompt has 900 tokens"), "ValueError: the prompt has 900 tokens"),
    ],
)
def test_a_failed_generation_has_a_reason_and_is_followed_by_the_next_prompt(error, reason):
    bench = Bench(VARIED, VARIED)
    bench.generator.fail = lambda request: error if request.request_id == "7.0" else None
    graded = bench.fill()
    assert graded.group.slot.attempt == 1
    assert bench.told[0] == Attempt(slot=slot(7, 0), graded=None, reason=reason)
    assert bench.log == ["draw 7.0", "told 7.0", "draw 7.1", "keep 7.1", "told 7.1"]


def test_an_error_that_nobody_foresaw_is_not_swallowed():
    bench, error = Bench(VARIED), TypeError("a bug")
    bench.generator.fail = lambda request: error
    with pytest.raises(TypeError) as caught:
        bench.fill()
    assert caught.value is error


def test_after_max_failures_the_slot_gives_up_and_says_why():
    bench = Bench(VARIED)
    bench.generator.fail = lambda request: ValueError(f"request {request.request_id} is too long")
    with pytest.raises(SourceFailed) as caught:
        bench.fill()
    assert str(caught.value).startswith(
        "slot 7 of source 'standard' failed 4 times; the last time: ValueError: request 7.3 is too long. "
    )
    assert "resume" in str(caught.value)
    assert [attempt.slot.attempt for attempt in bench.told] == [0, 1, 2, 3]


def test_a_judge_that_answers_garbage_ends_in_a_clear_error_and_nothing_is_lost():
    bench = Bench(*[UNGRADED] * 4)
    with pytest.raises(SourceFailed, match="the last time: ungraded: unparsable: blah"):
        bench.fill()
    assert [graded.group.slot.attempt for graded in bench.kept] == [0, 1, 2, 3]
    assert bench.reasons == ["ungraded: unparsable: blah"] * 4
    assert all(attempt.graded is not None and not attempt.filtered for attempt in bench.told)
    assert bench.diagnosis.metrics()["ungraded/standard"] == 1.0


def test_a_partly_ungraded_group_is_trained_on_what_is_graded():
    bench = Bench((1.0, None, 0.0))
    graded = bench.fill()
    assert [grade.reward for grade in graded.grades] == [1.0, None, 0.0]
    assert bench.reasons == [""]


def test_equal_grades_beside_ungraded_ones_are_no_signal():
    bench = Bench((1.0, None, 1.0), VARIED)
    bench.fill()
    assert bench.told[0].filtered is True


def test_one_grade_alone_is_no_group():
    bench = Bench((1.0, None, None), VARIED)
    bench.fill()
    assert bench.reasons == ["ungraded: unparsable: blah", ""]
    assert bench.told[0].filtered is False


def test_many_reasons_are_told_shortly():
    class Verbose(FakeGrader):
        async def grade(self, group):
            graded = await super().grade(group)
            grades = tuple(
                msgspec.structs.replace(grade, reason=reason)
                for grade, reason in zip(graded.grades, ("timeout", "blah", "timeout"), strict=True)
            )
            return msgspec.structs.replace(graded, grades=grades)

    bench = Bench(UNGRADED, VARIED)
    bench.filler._grader = Verbose(lambda slot: (UNGRADED, VARIED)[slot.attempt])
    bench.fill()
    assert bench.reasons[0] == "ungraded: blah; timeout"


def test_the_diagnosis_sees_every_graded_attempt():
    bench = Bench(EQUAL, (1.0, None, 0.0))
    bench.generator.finish_reason = "length"
    bench.fill()
    assert bench.diagnosis.metrics() == {
        "zero_variance/standard": 0.5,
        "truncated/standard": 1.0,
        "ungraded/standard": pytest.approx(1 / 6),
        "reward_spread/standard": 0.25,
    }
