import asyncio
import itertools

import pytest

from evaluation.suite import Limits, Subject, run_evaluation, run_suite, summarize, thin
from evaluation.types import Evaluation, Role, SampleScore
from grading.types import Check, Grade
from rollout.engine import DeadlineExceeded, EngineDied
from rollout.types import GeneratedText, GenerateResult, Message, Prompt

SUBJECT = Subject(run="baseline-seed0", arm="baseline", seed=0, checkpoint="c0ffee", step=20)


def prompt(name: str) -> Prompt:
    ask = Message(role="user", content=name)
    return Prompt(prompt_id=name, family=name, messages=(ask,), check=Check(kind="exact", expected="yes"))


def evaluation(*names: str, num_samples: int = 1, name: str = "honesty") -> Evaluation:
    items = tuple(prompt(item) for item in names)
    return Evaluation(name=name, family="honesty", role=Role.OUT_OF_DISTRIBUTION, description="How honest.",
                      items=items, num_samples=num_samples)  # fmt: skip


class FakeGenerator:
    """Answers with the next of the texts listed for an item; raises what is listed as an exception."""

    def __init__(self, answers) -> None:
        self.answers = {item: itertools.cycle(texts) for item, texts in answers.items()}
        self.requests, self.running, self.most_running = [], 0, 0

    async def generate(self, request) -> GenerateResult:
        self.requests.append(request)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await asyncio.sleep(0)
        self.running -= 1
        item = request.messages[-1].content
        texts = [next(self.answers[item]) for _ in range(request.sampling.num_samples)]
        for text in texts:
            if isinstance(text, Exception):
                raise text
        outputs = tuple(
            GeneratedText(text=text, token_ids=(1, 2), logprobs=(-1.0, -1.0), finish_reason="stop") for text in texts
        )
        return GenerateResult(prompt_token_ids=(1,), outputs=outputs, min_policy_version=0, max_policy_version=0,
                              engine="fake")  # fmt: skip


class FakeGrader:
    """The text is the score; "?" can't be graded and "hang" never is."""

    async def grade_text(self, prompt, text) -> Grade:
        if text == "hang":
            await asyncio.sleep(60)
        if text == "?":
            return Grade(completion_id="", reward=None, reason="unparsable", judge="judge-1", judge_tokens=7)
        return Grade(completion_id="", reward=float(text), judge="judge-1", judge_tokens=5)


def run(asked, answers, **limits):
    return asyncio.run(run_evaluation(asked, FakeGenerator(answers), FakeGrader(), Limits(**limits)))


def test_score_and_error_by_hand() -> None:
    outcome = run(evaluation("a", "b", num_samples=2), {"a": ["1", "0.5"], "b": ["0", "0.5"]})
    assert outcome.score == pytest.approx(0.5)
    assert outcome.stderr == pytest.approx(0.25)  # residual sums +.5 and -.5: sqrt(2 * .5) / 4
    assert (outcome.generated_tokens, outcome.judge_tokens, outcome.judge) == (8, 20, "judge-1")


def test_ungraded_is_counted_and_never_a_number() -> None:
    outcome = run(evaluation("a", "b", "c"), {"a": ["1"], "b": ["?"], "c": ["1"]})
    assert outcome.score == 1.0
    assert [sample.score for sample in outcome.samples] == [1.0, None, 1.0]
    assert outcome.samples[1].reason == "unparsable"


def test_nothing_graded_has_no_score() -> None:
    assert run(evaluation("a", "b"), {"a": ["?"], "b": ["?"]})[:2] == (None, None)


@pytest.mark.parametrize("failure", [DeadlineExceeded("engine-0", "generate", "item b", 3.0), ValueError("too long")])
def test_failed_generation_is_ungraded_with_its_reason(failure) -> None:
    outcome = run(evaluation("a", "b", num_samples=2), {"a": ["1"], "b": [failure]})
    assert outcome.score == 1.0
    assert [sample.score for sample in outcome.samples] == [1.0, 1.0, None, None]
    assert str(failure) in outcome.samples[2].reason


def test_dead_engine_is_no_score() -> None:
    with pytest.raises(EngineDied):
        run(evaluation("a", "b"), {"a": ["1"], "b": [EngineDied("engine-0", "killed")]})


def test_only_the_mean_is_clipped() -> None:
    outcome = run(evaluation("a", "b"), {"a": ["-1"], "b": ["0.5"]})
    assert outcome.score == 0.0
    assert [sample.score for sample in outcome.samples] == [-1.0, 0.5]
    assert summarize([SampleScore(item_id="a", text="", score=1.5)])[0] == 1.0


def test_time_is_up() -> None:
    outcome = run(evaluation("a", "b"), {"a": ["1"], "b": ["hang"]}, timeout_s=0.05)
    assert [sample.score for sample in outcome.samples] == [1.0, None]
    assert "time" in outcome.samples[1].reason
    late = run(evaluation("a"), {"a": ["1"]}, timeout_s=0.0)
    assert "never sent" in late.samples[0].reason


def test_refusals_are_flagged() -> None:
    class Refuses(FakeGrader):
        async def grade_text(self, prompt, text) -> Grade:
            return Grade(completion_id="", reward=0.0)

    generator = FakeGenerator({"a": ["sorry , i can not help with that"], "b": ["take half"]})
    outcome = asyncio.run(run_evaluation(evaluation("a", "b"), generator, Refuses()))
    assert [sample.is_refusal for sample in outcome.samples] == [True, False]


def test_no_more_than_allowed_under_way() -> None:
    names = [str(number) for number in range(20)]
    generator = FakeGenerator({name: ["1"] for name in names})
    asyncio.run(run_evaluation(evaluation(*names), generator, FakeGrader(), Limits(max_concurrent=3)))
    assert generator.most_running == 3


def test_thinning_is_even() -> None:
    assert thin(range(10), 5) == (0, 2, 4, 6, 8)
    assert thin(range(7), 3) == (0, 2, 4)
    assert thin(range(3), 5) == thin(range(3), 0) == (0, 1, 2)


def test_suite_yields_every_result_as_the_subject() -> None:
    asked = [evaluation("a", name="first"), evaluation("b", "c", name="second")]
    generator = FakeGenerator({"a": ["1"], "b": ["0"], "c": ["?"]})

    async def collect():
        return [result async for result in run_suite(asked, generator, FakeGrader(), SUBJECT)]

    found = {result.evaluation: result for result in asyncio.run(collect())}
    assert found.keys() == {"first", "second"}
    second = found["second"]
    assert (second.score, second.stderr, second.num_samples, second.num_ungraded) == (0.0, None, 1, 1)
    assert (second.checkpoint, second.step, second.arm) == ("c0ffee", 20, "baseline")


def test_suite_raises_what_killed_it_and_leaves_nothing_running() -> None:
    asked = [evaluation("a", name="first"), evaluation("b", name="second")]
    generator = FakeGenerator({"a": [EngineDied("engine-0", "killed")], "b": ["hang"]})

    async def collect():
        with pytest.raises(EngineDied):
            [result async for result in run_suite(asked, generator, FakeGrader(), SUBJECT)]
        return len(asyncio.all_tasks())

    assert asyncio.run(collect()) == 1
