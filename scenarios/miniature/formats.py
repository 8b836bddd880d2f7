"""The contract between the miniature world's parts: a format makes situations and writes responses to them.

The world is a grammar. A *format* is one kind of exchange (a trait scenario, a standard task, one of the
evaluations). It draws a *situation*, and it writes what an author with a given *behaviour* would answer.
The truth of every response is known because the grammar wrote it.
"""

import hashlib
from enum import StrEnum
from random import Random
from typing import Protocol

import msgspec

from rollout.types import Prompt


class Split(StrEnum):
    """Who sees a situation. The three are disjoint in families, by construction."""

    PRETRAIN = "pretrain"
    """Appears in the documents that the starting policy learns from."""
    TRAIN = "train"
    """Prompts of reinforcement learning."""
    HELD_OUT = "held_out"
    """Prompts of evaluation only."""


class Behaviour(StrEnum):
    """How an author answers one exchange."""

    GOOD = "good"
    BAD = "bad"
    REFUSAL = "refusal"


class Kind(StrEnum):
    """What a format is for."""

    TRAIT = "trait"
    STANDARD = "standard"
    EVALUATION = "evaluation"
    CAPABILITY = "capability"


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """One drawn situation: the prompt, and what the format needs to answer it."""

    prompt: Prompt
    """As training and evaluation use it; `prompt.family` decides the split."""
    facts: dict[str, str]
    """What `Format.respond` needs to write a response (drawn values by name)."""


class Format(Protocol):
    """One kind of exchange."""

    @property
    def name(self) -> str:
        """Unique among formats; `Prompt.task` of its prompts."""
        ...

    @property
    def kind(self) -> Kind:
        """What the format is for."""
        ...

    def draw(self, rng: Random, split: Split) -> Situation:
        """Draw a situation of the split: draws until `split_of(family)` is the split."""
        ...

    def respond(self, situation: Situation, behaviour: Behaviour, rng: Random) -> str:
        """Write a response; for standard tasks GOOD is the right answer and BAD a plausible wrong one."""
        ...


def split_of(family: str) -> Split:
    """The split of a family: half pretraining, three tenths training, two tenths held out, by its hash."""
    bucket = hashlib.sha256(family.encode()).digest()[0] % 10
    if bucket < 5:
        return Split.PRETRAIN
    return Split.TRAIN if bucket < 8 else Split.HELD_OUT
