"""Example responses for the report, chosen by a fixed rule and not by hand."""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from evaluation.experiment import Experiment
from evaluation.types import EvaluationResult, Role, SampleScore
from rollout.types import Prompt

NUM_TRAITS, NUM_OTHERS = 3, 3
RULE = (
    "The items and samples are drawn by a hash of their names, before anyone looks at a score: the first three "
    "traits and the first three other evaluations in that order, one item of each, at the last common step of the "
    "first seed."
)


class Answer(NamedTuple):
    """One arm's response."""

    arm: str
    sample: SampleScore


class Example(NamedTuple):
    """One item with each arm's response."""

    evaluation: str
    role: Role
    prompt: Prompt | None
    """None when the run kept no prompts."""
    item_id: str
    answers: tuple[Answer, ...]


def choose(experiment: Experiment, step: int) -> list[Example]:
    """Responses of all arms to the same items; empty when the arms share none."""
    seed = experiment.seeds[0]
    results = [result for result in experiment.results if result.seed == seed and result.step == step]
    prompts = {item.prompt_id: item for run in experiment.runs for asked in run.items for item in asked.items}
    chosen = []
    for role, number in ((Role.HELD_OUT_TRAIT, NUM_TRAITS), (Role.OUT_OF_DISTRIBUTION, NUM_OTHERS)):
        names = {result.evaluation for result in results if result.role is role}
        for name in sorted(names, key=_rank)[:number]:
            of_one = [result for result in results if result.evaluation == name]
            example = _example(sorted(of_one, key=lambda result: experiment.arms.index(result.arm)), prompts)
            chosen += [example] if example else []
    return chosen


def _example(results: Sequence[EvaluationResult], prompts: dict[str, Prompt]) -> Example | None:
    by_arm = {result.arm: _first_by_item(result.samples) for result in results}
    shared = set.intersection(*(set(samples) for samples in by_arm.values())) if by_arm else set()
    if not shared:
        return None
    item = min(shared, key=_rank)
    answers = tuple(Answer(arm, samples[item]) for arm, samples in by_arm.items())
    return Example(results[0].evaluation, results[0].role, prompts.get(item), item, answers)


def _first_by_item(samples: Sequence[SampleScore]) -> dict[str, SampleScore]:
    return {sample.item_id: sample for sample in reversed(samples)}


def _rank(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
