"""The data of a run, wherever it comes from, in one record."""

from typing import Any

import msgspec

from evaluation.types import Evaluation
from rollout.types import Prompt
from scenarios.config import DataConfig


class RunData(msgspec.Struct, frozen=True, kw_only=True):
    """Training prompts and evaluations."""

    standard: tuple[Prompt, ...]
    trait: tuple[Prompt, ...]
    evaluations: tuple[Evaluation, ...]


def load_data(config: DataConfig) -> RunData:
    """Read or generate the prompts and evaluations that a configuration names.

    Raises:
        ValueError: a file is missing or malformed, or the world's parameters are wrong.
    """
    if config.kind == "miniature":
        from scenarios.miniature.bootstrap import load_miniature

        data: Any = load_miniature(config.world)
        return RunData(standard=data.standard, trait=data.trait, evaluations=data.evaluations)
    from scenarios.jsonl import read_evaluations, read_prompts

    return RunData(
        standard=tuple(read_prompts(config.standard)),
        trait=tuple(read_prompts(config.trait)),
        evaluations=tuple(read_evaluations(config.evaluations)) if config.evaluations else (),
    )
