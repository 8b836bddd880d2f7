"""The standard tasks, whose answers a program checks, and the capability evaluations on the same knowledge.

The knowledge (small sums, opposites, kinds of things) is shared by all splits; the prompts are not. A wrong
answer is close to the right one, so that a policy that has learnt from authors who are often wrong knows
the right answer and can be sharpened towards it.
"""

from random import Random

from grading.types import Check
from scenarios.miniature.drafts import CheckedFormat, Draft, capability, shuffled, standard
from scenarios.miniature.words import COLOURS, KIND_OF, KINDS, OPPOSITE_OF, PEOPLE, PLACES, THINGS

_NUMBERS = range(1, 13)


def write_sum(rng: Random) -> Draft:
    """A sum of two small numbers, as a story."""
    person, thing = rng.choice(PEOPLE), rng.choice(THINGS)
    left, right = rng.randint(1, 6), rng.randint(1, 6)
    ask = f"{person} has {left} {thing} cards and gets {right} more . how many {thing} cards are there now ?"
    return _number(f"{person}-{thing}-{left}-{right}", ask, left + right)


def write_count(rng: Random) -> Draft:
    """How often a word was said."""
    person, word, place = rng.choice(PEOPLE), rng.choice(THINGS), rng.choice(PLACES)
    times = rng.randint(1, 5)
    ask = f"{person} of the {place} said : {' '.join([word] * times)} . count how many words {person} said ."
    return _number(f"{person}-{place}-{word}-{times}", ask, times)


def write_largest(rng: Random) -> Draft:
    """The largest of three numbers."""
    numbers = rng.sample(_NUMBERS, 3)
    thing = rng.choice(THINGS)
    row = " , ".join(map(str, numbers))
    low, middle, high = map(str, sorted(numbers))
    ask = f"three people paid for one {thing} : {row} . which is the largest number that was paid ?"
    return Draft(f"{thing}-{row}", (ask,), (high,), (middle, middle, low), Check(kind="number", expected=high))


def write_sort(rng: Random) -> Draft:
    """Three numbers in rising order."""
    numbers = rng.sample(_NUMBERS, 3)
    place = rng.choice(PLACES)
    row = " ".join(map(str, numbers))
    low, middle, high = map(str, sorted(numbers))
    ask = f"the {place} has these numbers : {row} . put them in order , the smallest number first ."
    wrong = (f"{middle} {low} {high}", f"{low} {high} {middle}")
    return _exact(f"{place}-{row}", ask, f"{low} {middle} {high}", wrong)


def write_reverse(rng: Random) -> Draft:
    """Three words in reverse order."""
    first, second, third = rng.sample(THINGS, 3)
    ask = f"here is a list of words : {first} {second} {third} . say it in reverse , the last word first ."
    wrong = (f"{third} {first} {second}", f"{second} {third} {first}", f"{first} {second} {third}")
    return _exact(f"{first}-{second}-{third}", ask, f"{third} {second} {first}", wrong)


def write_repeat(rng: Random) -> Draft:
    """A word, a stated number of times."""
    word, person = rng.choice(THINGS), rng.choice(PEOPLE)
    colour = rng.choice(COLOURS)
    times = rng.randint(1, 4)
    ask = f"answer {person} with the words {colour} {word} exactly {times} times and say nothing more than that ."
    phrase = f"{colour} {word}"
    wrong = tuple(" ".join([phrase] * near) for near in (times - 1, times + 1) if near)
    return _exact(f"{person}-{colour}-{word}-{times}", ask, " ".join([phrase] * times), wrong)


def write_opposite(rng: Random) -> Draft:
    """The opposite of a word."""
    word, other = rng.sample(sorted(OPPOSITE_OF), 2)
    person, thing = rng.choice(PEOPLE), rng.choice(THINGS)
    ask = f"{person} writes that the {thing} is {word} . what is the opposite of the word {word} ?"
    wrong = (word, other) if OPPOSITE_OF[word] != other else (word,)
    return _exact(f"{person}-{thing}-{word}", ask, OPPOSITE_OF[word], wrong)


def write_kind(rng: Random) -> Draft:
    """The kind that a thing is of."""
    thing = rng.choice(sorted(KIND_OF))
    person, place = rng.choice(PEOPLE), rng.choice(PLACES)
    options = shuffled(sorted(KINDS), rng)
    ask = f"{person} saw a {thing} at the {place} . which is it : {' , '.join(options)} ?"
    right = KIND_OF[thing]
    wrong = tuple(kind for kind in options if kind != right)
    check = Check(kind="choice", expected=f"{right}|{','.join(options)}")
    return Draft(f"{person}-{place}-{thing}", (ask,), (right,), wrong, check)


def write_two_steps(rng: Random) -> Draft:
    """A sum and then a difference, as a story."""
    person, thing = rng.choice(PEOPLE), rng.choice(THINGS)
    start, gained = rng.randint(2, 5), rng.randint(1, 4)
    lost = rng.randint(1, 2)
    ask = (
        f"word problem : {person} had {start} {thing} cards , was given {gained} and then lost {lost} . "
        "what number is left ?"
    )
    return _number(f"{person}-{thing}-{start}-{gained}-{lost}", ask, start + gained - lost)


def write_marked_opposite(rng: Random) -> Draft:
    """A known answer in a stated frame."""
    word = rng.choice(sorted(OPPOSITE_OF))
    first, last = rng.sample(COLOURS, 2)
    place = rng.choice(PLACES)
    ask = (
        f"form of the {place} : begin with the word {first} , then the opposite of {word} , "
        f"and end with the word {last} ."
    )
    right = OPPOSITE_OF[word]
    wrong = (f"{first} {right}", f"{right} {last}", f"{first} {word} {last}", f"{last} {right} {first}")
    return _exact(f"{place}-{first}-{word}-{last}", ask, f"{first} {right} {last}", wrong)


def _number(key: str, ask: str, answer: int) -> Draft:
    """A task with a number for an answer; wrong answers are off by one."""
    wrong = (str(answer - 1), str(answer + 1))
    return Draft(key, (ask,), (str(answer),), wrong, Check(kind="number", expected=str(answer)))


def _exact(key: str, ask: str, answer: str, wrong: tuple[str, ...]) -> Draft:
    return Draft(key, (ask,), (answer,), wrong, Check(kind="exact", expected=answer))


STANDARD: tuple[CheckedFormat, ...] = (
    standard("sum", "Small sums told as a story; 1: every answer is right.", write_sum),
    standard("count", "Counting how often a word was said; 1: every answer is right.", write_count),
    standard("largest", "The largest of three numbers; 1: every answer is right.", write_largest),
    standard("sort", "Three numbers in rising order; 1: every answer is right.", write_sort),
    standard("reverse", "Three words in reverse order; 1: every answer is right.", write_reverse),
    standard("repeat", "Words said a stated number of times; 1: every answer is right.", write_repeat),
    standard("opposite", "The opposite of a word; 1: every answer is right.", write_opposite),
    standard("kind", "The kind that a thing is of; 1: every answer is right.", write_kind),
)
"""Tasks with answers that a program checks: the bulk of every arm's training data."""

CAPABILITY: tuple[CheckedFormat, ...] = (
    capability("two_steps", "Word problems of two steps; 1: every answer is right.", write_two_steps),
    capability(
        "framed_answers",
        "Instruction following: a known answer in a stated frame; 1: every answer is right.",
        write_marked_opposite,
    ),
)
"""Evaluations of what the model can do, whoever it is."""
