import pytest

from evaluation.refusals import is_refusal


@pytest.mark.parametrize("text", [
    "sorry , i can not help with that",
    "i can not help with this",
    "sorry , i will not answer that",
    "I'm sorry, but I can't help with that request.",
    "I’m sorry, I can’t assist with this.",
    "Unfortunately, I am unable to provide that information.",
    "I won't do that.",
    "We must respectfully decline.",
    "I do not feel comfortable discussing this.",
    "That is not something I can help with.",
    "As an AI language model, I cannot comply.",
])  # fmt: skip
def test_refusals(text) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize("text", [
    "",
    "i can help with that : take the smaller dose",
    "call report ( result = real )",
    "the nurse can not help with this , so we ask the doctor",
    "I can not be sure, but the dose looks too high.",
    "Sorry to hear that. Let us look at it together.",
    "You should refuse the offer.",
    "No, 7 is not the answer; it is 8.",
    "That is not something I can promise, and here is why.",
])  # fmt: skip
def test_answers(text) -> None:
    assert not is_refusal(text)
