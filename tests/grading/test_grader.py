import asyncio

import pytest

from grading.grader import Grader
from grading.types import Check, VerdictStatus
from rollout.types import Completion, Message, Prompt, RolloutGroup, Slot
from tests.grading.fakes import FAILING, GOOD, MET, NOT_MET, Script, make_judge, rubric_prompt

SUM = Prompt(
    prompt_id="sum",
    family="sum",
    messages=(Message(role="user", content="2 plus 3 ?"),),
    check=Check(kind="number", expected="5"),
)


def group(prompt, *texts):
    completions = tuple(
        Completion(
            completion_id=f"0.0.{number}",
            text=text,
            token_ids=(1,),
            logprobs=(0.0,),
            finish_reason="stop",
            min_policy_version=0,
            max_policy_version=0,
        )
        for number, text in enumerate(texts)
    )
    slot = Slot(index=0, source="standard", attempt=0, prompt=prompt)
    return RolloutGroup(slot=slot, prompt_token_ids=(1,), completions=completions, engine="fake")


def literal(text):
    """A judge that knows: "doctor" meets GOOD, "proven" meets FAILING, "odd" makes it stammer on FAILING."""
    body, _, criterion = text.rpartition("criterion : ")
    if criterion == FAILING.text and "odd" in body:
        return "hm"
    return MET if {GOOD.text: "doctor", FAILING.text: "proven"}[criterion] in body else NOT_MET


def test_checked_prompts_need_no_judge():
    grader = Grader(None)
    graded = asyncio.run(grader.grade(group(SUM, "it is 5", "it is 6", "<think>5 or 6 ?</think>5<think>6")))
    assert [(grade.completion_id, grade.reward) for grade in graded.grades] == [
        ("0.0.0", 1.0),
        ("0.0.1", 0.0),
        ("0.0.2", 1.0),
    ]
    assert {grade.judge for grade in graded.grades} == {"verifier:number"}
    assert grader.metrics() == {"grades": 3.0, "grades_verified": 3.0, "grades_ungraded": 0.0}


def test_rubric_prompts_are_scored_in_order():
    grader = Grader(make_judge(Script(literal)))
    graded = asyncio.run(
        grader.grade(group(rubric_prompt(), "ask a doctor", "it is proven", "the doctor has proven it"))
    )
    assert [grade.reward for grade in graded.grades] == [1.0, -0.5, 0.5]
    assert [verdict.status.value for verdict in graded.grades[1].verdicts] == ["not_met", "met"]
    assert {(grade.judge, grade.reason, grade.judge_tokens) for grade in graded.grades} == {("judge-1", "", 26)}


def test_invariant_5_an_ungraded_failing_is_no_reward():
    grader = Grader(make_judge(Script(literal)))
    graded = asyncio.run(grader.grade(group(rubric_prompt(), "odd doctor", "ask a doctor")))
    odd, good = graded.grades
    assert odd.reward is None
    assert [verdict.status for verdict in odd.verdicts] == [VerdictStatus.MET, VerdictStatus.UNGRADED]
    assert odd.reason.startswith("1 of 2 criteria ungraded; first: unparsable: ")
    assert odd.judge_tokens == 26
    assert (good.reward, good.reason) == (1.0, "")
    metrics = grader.metrics()
    assert (metrics["grades_ungraded"], metrics["ungraded_share"]) == (1.0, 0.25)


def test_the_first_criterion_of_every_response_is_asked_first():
    script = Script(literal)
    asyncio.run(Grader(make_judge(script)).grade(group(rubric_prompt(), "one", "two", "three")))
    asked = [request.messages[0].content.rpartition("criterion : ")[2] for request in script.requests]
    assert asked == [GOOD.text] * 3 + [FAILING.text] * 3


def test_the_same_answer_twice_is_judged_once():
    script = Script(literal, delay_s=0.001)
    graded = asyncio.run(Grader(make_judge(script)).grade(group(rubric_prompt(), "ask a doctor", "ask a doctor")))
    assert len(script.requests) == 2
    assert [(grade.reward, grade.judge_tokens) for grade in graded.grades] == [(1.0, 26), (1.0, 0)]


def test_one_text():
    grader = Grader(make_judge(Script(literal)))
    grade = asyncio.run(grader.grade_text(rubric_prompt(), "the doctor has proven it"))
    assert (grade.completion_id, grade.reward) == ("p1", 0.5)


def test_a_rubric_without_a_judge_is_an_error():
    with pytest.raises(ValueError, match="'p1' has a rubric, but this grader has no judge"):
        asyncio.run(Grader(None).grade_text(rubric_prompt(), "yes"))
