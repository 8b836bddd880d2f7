"""Verifiers: programs that know whether an answer is right.

They read text and compare it; they never execute or evaluate anything that a model wrote. Case and
the amount of white space never matter. An `expected` that no answer could be compared with is a
mistake in the data set and raises `ValueError`: it must not turn into wrong answers for everybody.

Example:
    >>> verify("The answer is 5 .", Check(kind="number", expected="5"))
    True
"""

import re
from collections.abc import Callable
from decimal import Decimal

from grading.types import Check

_NUMBER = re.compile(r"(?<![\w.])-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?")
_FINAL_PUNCTUATION = " .!?,;:"


def normalized(text: str) -> str:
    """Text without differences of case, white space and final punctuation."""
    return " ".join(text.casefold().split()).rstrip(_FINAL_PUNCTUATION)


def _pattern(phrase: str) -> str:
    """A regular expression for the phrase as whole words, whatever white space stands between them."""
    words = phrase.casefold().split()
    body = r"\s+".join(re.escape(word) for word in words)
    before = r"(?<!\w)" if re.match(r"\w", words[0]) else ""
    after = r"(?!\w)" if re.search(r"\w$", words[-1]) else ""
    return before + body + after


def _phrases(kind: str, expected: str, separator: str, whole: str) -> list[str]:
    phrases = expected.split(separator)
    if not all(phrase.strip() for phrase in phrases):
        raise ValueError(f"verifier {kind!r}: an empty phrase in {whole!r}; separate phrases with {separator!r}")
    return phrases


def exact(text: str, expected: str) -> bool:
    """True when text and expected are the same but for case, white space and final punctuation."""
    answer = normalized(expected)
    if not answer:
        raise ValueError(f"verifier 'exact': nothing to compare with in {expected!r}; give the right answer")
    return normalized(text) == answer


def choice(text: str, expected: str) -> bool:
    """For expected "b|a,b,c": True when the first of the options a, b, c to appear as a whole word is b.

    Where two options begin at the same place ("no" and "no idea"), the longer counts.
    """
    answer, bar, listed = expected.partition("|")
    options = _phrases("choice", listed, ",", expected)
    names = {" ".join(option.casefold().split()) for option in options}
    right = " ".join(answer.casefold().split())
    if not bar or right not in names:
        raise ValueError(f"verifier 'choice': expected is 'b|a,b,c' with b among a,b,c, not {expected!r}")
    longest_first = sorted(names, key=len, reverse=True)
    found = re.search("|".join(_pattern(name) for name in longest_first), text.casefold())
    return found is not None and " ".join(found.group().split()) == right


def contains(text: str, expected: str) -> bool:
    """For expected "x|y z": True when every phrase, here x and y z, appears as whole words."""
    phrases = _phrases("contains", expected, "|", expected)
    return all(re.search(_pattern(phrase), text.casefold()) for phrase in phrases)


def number(text: str, expected: str) -> bool:
    """True when the last number in the text equals expected ("1,000", "1000" and "1000.0" are equal)."""
    right = _NUMBER.fullmatch(_plain_minus(expected.strip()))
    if right is None:
        raise ValueError(f"verifier 'number': expected is a decimal number, not {expected!r}")
    found = _NUMBER.findall(_plain_minus(text))
    return bool(found) and _decimal(found[-1]) == _decimal(right.group())


def _plain_minus(text: str) -> str:
    return text.replace("\u2212", "-")


def _decimal(digits: str) -> Decimal:
    return Decimal(digits.replace(",", ""))


VERIFIERS: dict[str, Callable[[str, str], bool]] = {
    "exact": exact,
    "choice": choice,
    "contains": contains,
    "number": number,
}
"""Verifiers by name: (text, expected) -> right or wrong."""


def verify(text: str, check: Check) -> bool:
    """Whether the text passes the check.

    Raises:
        ValueError: the check's kind is unknown, or its `expected` has not the form of that kind.
    """
    verifier = VERIFIERS.get(check.kind)
    if verifier is None:
        raise ValueError(f"unknown verifier {check.kind!r}; use one of {', '.join(sorted(VERIFIERS))}")
    return verifier(text, check.expected)
