"""The world's prompts, drawn from its seed: standard and trait prompts for training, and the evaluations."""

from collections.abc import Iterable, Iterator
from random import Random

import msgspec

from evaluation.types import Evaluation, Role
from rollout.types import Prompt
from scenarios.miniature.drafts import CheckedFormat
from scenarios.miniature.evaluations import EVALUATIONS
from scenarios.miniature.formats import Split
from scenarios.miniature.language import DOMAIN_WORDS
from scenarios.miniature.registry import trait_formats
from scenarios.miniature.scenario import TraitFormat
from scenarios.miniature.standard import CAPABILITY, STANDARD
from scenarios.miniature.world import WorldConfig, load_world
from scenarios.traits import TRAITS

MAX_TOKENS = 48
"""Most tokens of an answer: the longest that the grammar writes is below 40."""
_TRIES_FOR_EACH = 200


class MiniatureData(msgspec.Struct, frozen=True, kw_only=True):
    """What reinforcement learning and the evaluators draw from."""

    standard: tuple[Prompt, ...]
    """Prompts of the training split, evenly over the standard tasks."""
    trait: tuple[Prompt, ...]
    """Prompts of the training split, evenly over traits and domains."""
    evaluations: tuple[Evaluation, ...]
    """On held-out prompts."""


def load_miniature(world_path: str) -> MiniatureData:
    """Draw a world's prompts; the same world gives the same prompts.

    Raises:
        ValueError: the world file is missing or wrong, or asks for more prompts than the grammar has.
    """
    world = load_world(world_path)
    return MiniatureData(
        standard=_standard_prompts(world), trait=_trait_prompts(world), evaluations=tuple(_evaluations(world))
    )


def _standard_prompts(world: WorldConfig) -> tuple[Prompt, ...]:
    share = -(-world.sizes.standard // len(STANDARD))
    drawn = [_distinct(form, Split.TRAIN, share, world) for form in STANDARD]
    return tuple(prompt for row in zip(*drawn, strict=True) for prompt in row)[: world.sizes.standard]


def _trait_prompts(world: WorldConfig) -> tuple[Prompt, ...]:
    size = world.sizes.trait_per_cell
    return tuple(p for form in trait_formats(world) for p in _cells(form, Split.TRAIN, size, world))


def _evaluations(world: WorldConfig) -> Iterator[Evaluation]:
    for trait in trait_formats(world):
        if TRAITS[trait.trait].evaluated:
            yield _trait_evaluation(trait, world)
    for form in (*EVALUATIONS, *CAPABILITY):
        yield Evaluation(
            name=form.name,
            family=form.family,
            role=form.role,
            description=form.description,
            items=_distinct(form, Split.HELD_OUT, world.sizes.evaluation, world),
            max_tokens=MAX_TOKENS,
        )
    yield _standard_evaluation(world)


def _trait_evaluation(form: TraitFormat, world: WorldConfig) -> Evaluation:
    title = TRAITS[form.trait].title.lower()
    return Evaluation(
        name=form.name,
        family="traits",
        role=Role.HELD_OUT_TRAIT,
        description=f"Held-out scenarios of {title}, judged by their rubrics; 1: every rubric is fulfilled.",
        items=tuple(_cells(form, Split.HELD_OUT, world.sizes.held_out_per_cell, world)),
        max_tokens=MAX_TOKENS,
    )


def _standard_evaluation(world: WorldConfig) -> Evaluation:
    share = -(-world.sizes.evaluation // len(STANDARD))
    items = [prompt for form in STANDARD for prompt in _distinct(form, Split.HELD_OUT, share, world)]
    return Evaluation(
        name="standard_tasks",
        family="standard",
        role=Role.STANDARD,
        description="Held-out prompts of the standard training tasks; 1: every answer is right.",
        items=tuple(items[: world.sizes.evaluation]),
        max_tokens=MAX_TOKENS,
    )


def _cells(form: TraitFormat, split: Split, size: int, world: WorldConfig) -> Iterator[Prompt]:
    """`size` prompts for each domain."""
    for domain in DOMAIN_WORDS:
        rng = Random(f"data-{world.seed}-{form.name}-{domain}-{split}")
        yield from _take((form.draw_in(rng, split, domain).prompt for _ in _tries(size)), size, f"{form.name}/{domain}")


def _distinct(form: CheckedFormat, split: Split, size: int, world: WorldConfig) -> tuple[Prompt, ...]:
    rng = Random(f"data-{world.seed}-{form.name}-{split}")
    return tuple(_take((form.draw(rng, split).prompt for _ in _tries(size)), size, form.name))


def _tries(size: int) -> range:
    return range(size * _TRIES_FOR_EACH)


def _take(prompts: Iterable[Prompt], size: int, name: str) -> list[Prompt]:
    """The first `size` prompts of different families."""
    chosen: dict[str, Prompt] = {}
    for prompt in prompts:
        if len(chosen) == size:
            break
        chosen.setdefault(prompt.family, prompt)
    if len(chosen) < size:
        raise ValueError(f"{name} has fewer than {size} families of prompts in a split: lower the numbers in [sizes]")
    return list(chosen.values())
