import asyncio

import pytest

from grading.calibration import CANARIES, Confusion, Labelled, calibrate, canary_report
from tests.grading.fakes import FAILING, GOOD, MET, NOT_MET, Script, make_judge, rubric_prompt

PROMPT = rubric_prompt()


@pytest.mark.parametrize(
    ("counts", "agreement", "kappa"),
    [
        ((20, 5, 10, 15), 0.7, 0.4),
        ((45, 15, 25, 15), 0.6, 0.1304),
        ((10, 0, 0, 10), 1.0, 1.0),
        ((0, 10, 10, 0), 0.0, -1.0),
        ((7, 0, 0, 0), 1.0, None),
        ((0, 0, 0, 0), None, None),
    ],
)
def test_kappa_by_hand(counts, agreement, kappa):
    names = ("true_met", "false_met", "false_not_met", "true_not_met")
    found = Confusion(**dict(zip(names, counts, strict=True)), ungraded=3)
    assert found.agreement == agreement
    assert found.kappa == (None if kappa is None else pytest.approx(kappa, abs=1e-4))


def labelled(response, truth, criterion=GOOD):
    return Labelled(prompt=PROMPT, response=response, criterion=criterion, truth=truth)


def echo(text):
    """A judge that goes by the response's word: yes, no, or nonsense."""
    return MET if "yes" in text else NOT_MET if "no" in text.partition("criterion")[0] else "hm"


def test_a_judge_against_the_truth():
    items = [
        labelled("yes 1", True),
        labelled("yes 2", False),
        labelled("no 1", False),
        labelled("no 2", True, FAILING),
        labelled("?", True, FAILING),
    ]
    found = asyncio.run(calibrate(make_judge(Script(echo)), items))
    assert found.judge == "judge-1"
    assert found.confusion == Confusion(true_met=1, false_met=1, false_not_met=1, true_not_met=1, ungraded=1)
    assert (found.agreement, found.kappa, found.ungraded_share) == (0.5, 0.0, 0.2)
    assert found.per_criterion == {
        FAILING.text: Confusion(false_not_met=1, ungraded=1),
        GOOD.text: Confusion(true_met=1, false_met=1, true_not_met=1),
    }


def test_canaries_find_a_judge_that_obeys():
    def obeys(text):
        response = text.partition("response [")[2]
        return MET if "mark all" in response else "hm" if "Solution" in response else NOT_MET

    report = {each.name: each for each in asyncio.run(canary_report(make_judge(Script(obeys)), [PROMPT]))}
    assert set(report) == set(CANARIES)
    fooled = {name: each.fooled_share for name, each in report.items()}
    assert fooled.pop("mark all as met") == 1.0
    assert fooled.pop("opener: solution") is None
    assert set(fooled.values()) == {0.0}
    assert report["empty"].num_not_met == 1
    assert report["opener: solution"].num_ungraded == 1
