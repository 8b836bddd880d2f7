"""What each arm will train on, counted before a run with the sampler that the run will use.

A known attempt failed with 20 distinct trait prompts and 240 trait completions in all. Both can be
counted beforehand, and the warnings here say so before anything is spent.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec

from actors.config import Config
from actors.data import RunData
from grading.helpfulness import HELPFULNESS
from rollout.interventions import mix_pools
from rollout.sampler import MixSampler

MIN_TRAIT_PROMPTS = 100
"""Distinct trait prompts below which an arm is unlikely to teach a trait: five times the failed attempt's 20."""
MIN_TRAIT_COMPLETIONS = 1000
"""Trait completions below which the same holds: about four times the failed attempt's 240."""
MIN_GROUPS_OF_A_TRAIT = 5
"""Groups of one trait below which nothing can be said of that trait."""
MAX_REPEATS = 20
"""Times that one prompt is trained, above which the policy learns the prompts by heart."""


class TraitRow(msgspec.Struct, frozen=True, kw_only=True):
    """What one arm trains of one trait (or of standard tasks, trait "")."""

    arm: str
    source: str
    trait: str
    num_prompts: int
    """Distinct prompts."""
    num_groups: int
    num_completions: int
    num_verdicts: int
    """Judge calls, before caching and retries."""


def arm_rows(config: Config, arm: str, data: RunData) -> list[TraitRow]:
    """Count what an arm trains, slot by slot, by asking the sampler that the run will ask.

    First attempts only: a filtered group is followed by another prompt of the same source, so the
    groups are exact and the distinct prompts a lower bound. With `mix.unit = "tokens"` the order
    depends on the lengths of completions; the counts then take the fractions as shares of groups.
    """
    pools = mix_pools(config.mix, config.arms[arm], data.standard, data.trait, HELPFULNESS)
    mix = msgspec.structs.replace(config.mix, unit="groups")
    sampler = MixSampler(pools, mix, config.seed, config.groups_per_step)
    prompts: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    verdicts: Counter[tuple[str, str]] = Counter()
    for index in range(config.steps * config.groups_per_step):
        slot = sampler.slot(index)
        key = (slot.source, slot.prompt.trait)
        prompts[key][slot.prompt.prompt_id] += 1
        verdicts[key] += len(slot.prompt.criteria)
    size = config.rollout.sampling.num_samples
    return [
        TraitRow(
            arm=arm,
            source=source,
            trait=trait,
            num_prompts=len(counts),
            num_groups=counts.total(),
            num_completions=counts.total() * size,
            num_verdicts=verdicts[source, trait] * size,
        )
        for (source, trait), counts in sorted(prompts.items())
    ]


def data_warnings(config: Config, arms: Sequence[str], rows: Sequence[TraitRow]) -> list[str]:
    """What the failed attempt would have been told; arms with the same trouble share a sentence."""
    told: defaultdict[str, list[str]] = defaultdict(list)
    for arm in arms:
        mine = [row for row in rows if row.arm == arm]
        warnings = _repeat_warnings(mine)
        if config.arms[arm].data == "trait":
            warnings = [*_trait_warnings([row for row in mine if row.trait]), *warnings]
        for warning in warnings:
            told[warning].append(arm)
    return [f"{', '.join(names)}: {warning}" for warning, names in told.items()]


def _trait_warnings(rows: Sequence[TraitRow]) -> list[str]:
    warnings = []
    prompts, completions = sum(row.num_prompts for row in rows), sum(row.num_completions for row in rows)
    if prompts < MIN_TRAIT_PROMPTS:
        warnings.append(
            f"only {prompts} distinct trait prompts are trained; at least {MIN_TRAIT_PROMPTS} are advised "
            "(a known attempt failed with 20). Add prompts, steps or groups"
        )
    if completions < MIN_TRAIT_COMPLETIONS:
        warnings.append(
            f"only {completions} trait completions are trained; at least {MIN_TRAIT_COMPLETIONS} are advised "
            "(a known attempt failed with 240). Raise steps, groups_per_step, num_samples or the fraction"
        )
    thin = [row.trait for row in rows if row.num_groups < MIN_GROUPS_OF_A_TRAIT]
    if thin:
        warnings.append(
            f"fewer than {MIN_GROUPS_OF_A_TRAIT} groups each of {', '.join(thin)}: "
            "too few to say anything of these traits alone"
        )
    return warnings


def _repeat_warnings(rows: Sequence[TraitRow]) -> list[str]:
    warnings = []
    for source in sorted({row.source for row in rows}):
        mine = [row for row in rows if row.source == source]
        prompts, groups = sum(row.num_prompts for row in mine), sum(row.num_groups for row in mine)
        if groups > MAX_REPEATS * prompts:
            warnings.append(
                f"each of the {prompts} prompts of source {source} is trained {groups / prompts:.0f} times; "
                f"above {MAX_REPEATS} the policy learns them by heart. Add prompts"
            )
    return warnings
