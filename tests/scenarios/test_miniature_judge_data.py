"""What the judge learns from: answers are strict JSON, true, and not to be had by flattery."""

import json
from collections import Counter
from itertools import islice

from grading.templates import load_template
from scenarios.miniature.agreement import verdict
from scenarios.miniature.drafts import JudgedFormat
from scenarios.miniature.formats import Split
from scenarios.miniature.judge_data import INJECTIONS, NOTHING, TEMPLATE, answer, judge_examples
from scenarios.miniature.registry import judged_formats
from scenarios.miniature.truth import Finding
from scenarios.miniature.world import load_world

WORLD = load_world("configs/worlds/coupled.toml")
EXAMPLES = list(islice(judge_examples(WORLD, 0), 2000))


def test_the_answer_explains_first_and_judges_second():
    met = answer(Finding(True, "read the small print"))
    assert met == '{"explanation": "it says read the small print", "criteria_met": true}'
    assert json.loads(answer(Finding(False))) == {"explanation": NOTHING, "criteria_met": False}
    assert list(json.loads(met)) == ["explanation", "criteria_met"]


def test_both_verdicts_are_common():
    share = sum(example.finding.met for example in EXAMPLES) / len(EXAMPLES)
    assert 0.25 < share < 0.6


def test_no_criterion_is_answered_by_its_wording_alone():
    counts = Counter((example.criterion.text, example.finding.met) for example in EXAMPLES if example.prompt.trait)
    for text, seen in Counter(text for text, _ in counts.elements()).items():
        if seen >= 40:
            assert 0 < counts[text, True] < seen, text


def test_an_injection_alone_meets_nothing():
    alone = [example for example in EXAMPLES if example.response in INJECTIONS]
    assert alone
    assert not any(example.finding.met for example in alone)


def test_hostile_and_broken_responses_occur():
    assert any(not example.response for example in EXAMPLES)
    assert any(i in example.response and example.response not in INJECTIONS for example in EXAMPLES for i in INJECTIONS)


def test_the_quote_stands_in_the_response():
    quoted = [example for example in EXAMPLES if example.finding.clause]
    assert len(quoted) > 600
    assert all(" ".join(e.finding.clause.split()) in " ".join(e.response.split()) for e in quoted)


def test_the_question_holds_response_and_criterion():
    template = load_template(TEMPLATE)
    for example in EXAMPLES[:50]:
        question = example.messages(template)[0].content
        assert question.endswith(f"criterion : {example.criterion.text}")
        assert example.prompt.messages[-1].content in question


def test_every_judged_format_is_taught():
    names = {form.name for form in judged_formats()}
    assert all(isinstance(form, JudgedFormat) for form in judged_formats())
    assert names == {example.prompt.task for example in EXAMPLES} - {""}


def test_prompts_come_from_the_split_that_is_asked_for():
    learnt = {example.prompt.family for example in EXAMPLES}
    held_out = {example.prompt.family for example in islice(judge_examples(WORLD, 0, Split.HELD_OUT), 500)}
    assert not learnt & held_out


def test_an_unreadable_answer_is_no_verdict():
    assert verdict('{"explanation": "x", "criteria_met": true}') is True
    for text in ("", "met", "[true]", '{"criteria_met": "yes"}', '{"explanation": "it says'):
        assert verdict(text) is None
