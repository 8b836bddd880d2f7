import pytest

from grading.types import Check
from grading.verifiers import VERIFIERS, verify


@pytest.mark.parametrize(
    ("kind", "text", "expected", "right"),
    [
        ("exact", " Yes,  Sir .", "yes, sir", True),
        ("exact", "yes sir no", "yes sir", False),
        ("exact", "", "yes", False),
        ("choice", "I pick B .", "b|a,b,c", True),
        ("choice", "a , not b", "b|a,b,c", False),
        ("choice", "about cabs", "b|a,b,c", False),
        ("choice", "none", "b|a,b,c", False),
        ("choice", "no  idea", "no idea|no,no idea", True),
        ("choice", "no idea", "no|no,no idea", False),
        ("contains", "Ask a  doctor and wait", "ask a doctor|wait", True),
        ("contains", "ask a doctor", "ask a doctor|wait", False),
        ("contains", "the waiter", "wait", False),
        ("contains", "answer: yes", "answer :", False),
        ("contains", "answer : yes", "answer :|yes", True),
        ("number", "first 3 , then 12 .", "12", True),
        ("number", "12 , then 3", "12", False),
        ("number", "1,000.50", "1000.5", True),
        ("number", "10-5", "5", True),
        ("number", "it is \u22125", "-5", True),
        ("number", "nothing", "0", False),
        ("number", "room b12", "12", False),
    ],
)
def test_verdicts(kind, text, expected, right):
    assert VERIFIERS[kind](text, expected) is right
    assert verify(text, Check(kind=kind, expected=expected)) is right


def test_unknown_kind_lists_the_known():
    with pytest.raises(ValueError, match="choice, contains, exact, number"):
        verify("5", Check(kind="eval", expected="5"))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("exact", " . "),
        ("choice", "b"),
        ("choice", "d|a,b"),
        ("choice", "a|a,,b"),
        ("contains", "a||b"),
        ("number", "x"),
    ],
)
def test_an_expectation_that_nothing_can_meet_is_refused(kind, expected):
    with pytest.raises(ValueError, match=f"verifier '{kind}'"):
        verify("any text 5", Check(kind=kind, expected=expected))


def test_code_is_compared_and_never_run(tmp_path):
    target = tmp_path / "made"
    text = f"__import__('pathlib').Path({str(target)!r}).touch() or 5"
    for kind, expected in {"exact": "5", "choice": "5|5,6", "contains": "5", "number": "5"}.items():
        verify(text, Check(kind=kind, expected=expected))
    assert not target.exists()
