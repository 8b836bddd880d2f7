"""What an experiment found, in plain sentences computed from its numbers, whichever way they point."""

from enum import StrEnum

import msgspec

from evaluation import formatting as f
from evaluation.comparison import SIGNIFICANT, Comparison, Summary
from evaluation.statistics import Estimate
from evaluation.types import Role


class Finding(StrEnum):
    """Which way a set of evaluations moved."""

    BETTER = "better"
    WORSE = "worse"
    NOTHING = "nothing beyond chance"
    UNKNOWN = "unknown"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """An arm's finding, in words."""

    arm: str
    transfer: Finding
    """On evaluations unlike the training prompts."""
    traits: Finding
    """On held-out prompts of the trained kind."""
    headline: str
    sentences: tuple[str, ...]


def judge_comparison(comparison: Comparison, persona_coupling: float | None = None) -> Verdict:
    """Put a comparison into words; `persona_coupling` is the miniature world's dial, where there is one."""
    traits, others = comparison.summary(Role.HELD_OUT_TRAIT), comparison.summary(Role.OUT_OF_DISTRIBUTION)
    on_traits = finding(traits.over_samples if traits else None)
    transfer = finding(others.over_evaluations if others else None)
    sentences = [
        _trait_sentence(comparison, traits, on_traits),
        _transfer_sentence(comparison, others),
        _control_sentence(persona_coupling, transfer, on_traits),
        _capability_sentence(comparison),
        _seed_sentence(comparison, others),
    ]
    return Verdict(
        arm=comparison.arm,
        transfer=transfer,
        traits=on_traits,
        headline=_headline(transfer, on_traits),
        sentences=tuple(sentence for sentence in sentences if sentence),
    )


def finding(estimate: Estimate | None) -> Finding:
    """Which way an effect points at the 5% level."""
    if estimate is None:
        return Finding.UNKNOWN
    if estimate.p >= SIGNIFICANT:
        return Finding.NOTHING
    return Finding.BETTER if estimate.effect > 0 else Finding.WORSE


def _headline(transfer: Finding, traits: Finding) -> str:
    match transfer, traits:
        case Finding.BETTER, Finding.BETTER:
            return "The traits were learned, and the gain generalized to evaluations that were never trained."
        case Finding.BETTER, _:
            return "Evaluations that were never trained improved, though the trained traits did not beyond chance."
        case Finding.WORSE, _:
            return "Evaluations that were never trained got worse."
        case Finding.NOTHING, Finding.BETTER:
            return "The traits were learned; no transfer beyond chance to evaluations that were never trained."
        case Finding.NOTHING, _:
            return "No effect beyond chance, on the trained traits or elsewhere."
        case _, Finding.BETTER:
            return "The traits were learned; there are too few other evaluations to say whether that generalized."
    return "There are too few evaluations to say anything."


def _trait_sentence(comparison: Comparison, traits: Summary | None, found: Finding) -> str:
    if traits is None or traits.over_samples is None:
        return "Held-out prompts of the trained traits were not evaluated in both arms, or too few of them."
    verb = {Finding.BETTER: "scores higher than", Finding.WORSE: "scores lower than"}.get(found, "does not differ from")
    return (
        f"On held-out prompts of {f.plural(len(traits.differences), 'trait')}, {f.label(comparison.arm)} {verb} "
        f"{f.label(comparison.baseline)}: {f.score(traits.arm)} against {f.score(traits.baseline)}, "
        f"{f.effect(traits.over_samples)} points ({f.p_value(traits.over_samples.p)})."
    )


def _transfer_sentence(comparison: Comparison, others: Summary | None) -> str:
    if others is None or others.mean_gain is None:
        return "No evaluation unlike the training prompts was run in both arms."
    wins, mean = others.wins, others.over_evaluations
    tested = f"{f.interval(mean)}, {f.p_value(mean.p)} over evaluations" if mean else "no interval"
    return (
        f"On {f.plural(len(others.differences), 'evaluation')} in other formats, none of them trained, it is better on "
        f"{wins.wins} and worse on {wins.losses} (sign test {f.p_value(wins.p)}). The mean difference is "
        f"{f.points(others.mean_gain)} points ({tested}), the median {f.points(others.median_gain)}; after "
        f"Benjamini-Hochberg {f.plural(others.gains, 'gain')} and {f.plural(others.regressions, 'regression')} "
        f"are significant."
    )


def _control_sentence(coupling: float | None, transfer: Finding, traits: Finding) -> str:
    if coupling is None or transfer is Finding.UNKNOWN:
        return ""
    if coupling == 0:
        return _negative_control(transfer, traits)
    world = f"In this world behaviours are tied to a persona (coupling {coupling:g})"
    if transfer is Finding.BETTER:
        return f"{world}, so transfer is what the positive control should show, and it does."
    if traits is not Finding.BETTER:
        return f"{world}, but the trained traits did not rise, so there was nothing to transfer."
    if coupling >= 0.5:
        return (
            f"{world}, so transfer was to be found and was not: the run was too short or weak, or something is broken."
        )
    return ""


def _negative_control(transfer: Finding, traits: Finding) -> str:
    if transfer is not Finding.NOTHING:
        return (
            "This contradicts the negative control: in this world nothing ties the traits to these evaluations. Chance "
            "does that once in twenty; if other seeds show it too, something in the pipeline lets through what is not "
            "there, and no other result should be trusted before it is found."
        )
    if traits is not Finding.BETTER:
        return "As a negative control this says little: the trained traits did not rise either."
    return (
        "That is what the negative control demands: in this world nothing ties the traits to these evaluations, and "
        "the system reports nothing."
    )


def _capability_sentence(comparison: Comparison) -> str:
    parts = []
    for role, name in ((Role.STANDARD, "the standard tasks"), (Role.CAPABILITY, "capability")):
        summary = comparison.summary(role)
        if summary and summary.over_samples:
            parts.append(f"{name} {f.effect(summary.over_samples)} points ({f.p_value(summary.over_samples.p)})")
    return f"What it cost or gave elsewhere: {'; '.join(parts)}." if parts else ""


def _seed_sentence(comparison: Comparison, others: Summary | None) -> str:
    if len(comparison.seeds) == 1:
        return (
            "All of this rests on one training seed: the intervals are over items, samples and evaluations, and say "
            "nothing about what another training run would give."
        )
    per_seed = others.per_seed if others else {}
    listed = ", ".join(f"{f.points(gain)} (seed {seed})" for seed, gain in per_seed.items())
    over = others.over_seeds if others else None
    across = f"; over seeds {f.effect(over)}, {f.p_value(over.p)}" if over else ""
    return (
        f"{f.plural(len(comparison.seeds), 'training seed').capitalize()}: mean difference on the other evaluations "
        f"{listed or f.MISSING}{across}. The other intervals are over items, samples and evaluations, not over seeds."
    )
