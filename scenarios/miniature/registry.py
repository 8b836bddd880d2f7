"""All formats of the world, by the group that their weight in the documents has."""

from scenarios.miniature.advice import AdviceFormat
from scenarios.miniature.drafts import JudgedFormat
from scenarios.miniature.evaluations import EVALUATIONS
from scenarios.miniature.formats import Format
from scenarios.miniature.scenario import TraitFormat
from scenarios.miniature.standard import CAPABILITY, STANDARD
from scenarios.miniature.traits import TRAIT_WORDS
from scenarios.miniature.world import WorldConfig


def trait_formats(world: WorldConfig) -> tuple[TraitFormat, ...]:
    """One format for each trait."""
    return tuple(TraitFormat(trait, world.documents.hazard_skill) for trait in TRAIT_WORDS)


def formats_by_group(world: WorldConfig) -> dict[str, tuple[Format, ...]]:
    """Formats by group; the keys are names of weights in `DocumentsConfig`."""
    return {
        "trait": trait_formats(world),
        "standard": STANDARD,
        "evaluation": EVALUATIONS,
        "capability": CAPABILITY,
        "advice": (AdviceFormat(),),
    }


def judged_formats() -> tuple[JudgedFormat, ...]:
    """The evaluations that a judge grades."""
    return tuple(form for form in EVALUATIONS if isinstance(form, JudgedFormat))
