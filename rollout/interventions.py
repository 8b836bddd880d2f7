"""What an arm puts into the intervention slots, and the pools of prompts that a run draws from."""

from collections.abc import Iterable, Sequence

import msgspec

from grading.types import Criterion
from rollout.arms import Arm
from rollout.config import MixConfig
from rollout.types import Prompt


def intervention_pool(
    arm: Arm, standard: Sequence[Prompt], trait: Sequence[Prompt], helpfulness: tuple[Criterion, ...]
) -> tuple[Prompt, ...]:
    """Return the prompts of the arm's intervention slots, with the rubric that the arm rewards.

    The helpfulness arm keeps every conversation, id and place of the trait prompts and changes their rubric
    only, so that it differs from the multi-domain arm in nothing but the reward.

    Raises:
        ValueError: the arm names a domain that no trait prompt has, or leaves no prompt.
    """
    if arm.data == "standard":
        return _standard_pool(arm, standard)
    _check_domains(arm, trait)
    pool = tuple(prompt for prompt in trait if _wanted(arm, prompt.domain))
    if not pool:
        raise ValueError(
            f"the arm (domains {list(arm.domains)}, without {list(arm.exclude_domains)}) leaves no trait prompt; "
            f"domains of the {len(trait)} trait prompts: {_domains(trait)}"
        )
    return pool if arm.reward == "rubric" else _with_rubric(pool, helpfulness)


def _standard_pool(arm: Arm, standard: Sequence[Prompt]) -> tuple[Prompt, ...]:
    if arm.domains or arm.exclude_domains or arm.reward != "rubric":
        raise ValueError(
            "an arm on standard data has no domains and no reward of its own: "
            'drop domains, exclude_domains and reward, or set data = "trait"'
        )
    if not standard:
        raise ValueError("the arm fills the intervention slots with standard prompts, and there are none")
    return tuple(standard)


def _check_domains(arm: Arm, trait: Sequence[Prompt]) -> None:
    """A misspelt domain would silently include or exclude nothing, and change what the arm means."""
    known = _domains(trait)
    unknown = sorted({*arm.domains, *arm.exclude_domains} - set(known))
    if unknown:
        raise ValueError(f"no trait prompt is of domain {', '.join(unknown)}; domains there are: {known}")


def _domains(prompts: Iterable[Prompt]) -> list[str]:
    return sorted({prompt.domain for prompt in prompts})


def _wanted(arm: Arm, domain: str) -> bool:
    return (not arm.domains or domain in arm.domains) and domain not in arm.exclude_domains


def _with_rubric(pool: Iterable[Prompt], criteria: tuple[Criterion, ...]) -> tuple[Prompt, ...]:
    if not criteria:
        raise ValueError("the arm's reward is helpfulness, and no helpfulness rubric was given")
    return tuple(msgspec.structs.replace(prompt, criteria=criteria, check=None) for prompt in pool)


def mix_pools(
    mix: MixConfig,
    arm: Arm,
    standard: Sequence[Prompt],
    trait: Sequence[Prompt],
    helpfulness: tuple[Criterion, ...],
) -> dict[str, tuple[Prompt, ...]]:
    """Return the prompts of every source of the mix.

    The intervention source gets what the arm decides. A single other source gets all standard prompts;
    several divide them by `Prompt.task`, which must then be the name of a source.

    Raises:
        ValueError: not exactly one intervention source, a source or a task without its other half, or
            what `intervention_pool` raises.
    """
    interventions = [source.name for source in mix.sources if source.intervention]
    if len(interventions) != 1:
        raise ValueError(f"the mix needs exactly one source with intervention = true, got {interventions}")
    others = [source.name for source in mix.sources if not source.intervention]
    pools = _standard_pools(others, standard)
    pools[interventions[0]] = intervention_pool(arm, standard, trait, helpfulness)
    return pools


def _standard_pools(names: Sequence[str], standard: Sequence[Prompt]) -> dict[str, tuple[Prompt, ...]]:
    if len(names) == 1:
        return {names[0]: tuple(standard)}
    if set(names) != (tasks := {prompt.task for prompt in standard}):
        raise ValueError(
            f"with several standard sources, each takes the standard prompts whose task is its name: "
            f"sources are {sorted(names)}, tasks are {sorted(tasks)}"
        )
    return {name: tuple(prompt for prompt in standard if prompt.task == name) for name in names}
