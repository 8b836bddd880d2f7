import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.arms import ARMS, Arm
from rollout.config import MixConfig, SourceConfig
from rollout.interventions import intervention_pool, mix_pools
from rollout.ledger import Outcome, failed_entry, graded_entry
from rollout.sampler import MixError, MixSampler
from tests.rollout.worlds import HELPFULNESS, RUBRIC, graded, standard_prompts, trait_prompts

STANDARD, TRAIT = standard_prompts(30), trait_prompts(24)


def mix_of(fraction: float, unit: str = "groups") -> MixConfig:
    return MixConfig(
        sources=(
            SourceConfig(name="standard", fraction=1 - fraction),
            SourceConfig(name="intervention", fraction=fraction, intervention=True),
        ),
        unit=unit,
    )


def sampler_of(arm: str = "multi_domain", seed: int = 0, fraction: float = 0.05, unit: str = "groups", step: int = 8):
    mix = mix_of(fraction, unit)
    return MixSampler(mix_pools(mix, ARMS[arm], STANDARD, TRAIT, HELPFULNESS), mix, seed, step)


def train(sampler: MixSampler, first: int, last: int, rng: random.Random, groups_per_step: int = 8) -> list[tuple]:
    """Train slots as a run would: some attempts are filtered, some fail; returns every attempt made."""
    attempts = []
    for index in range(first, last):
        for number in range(20):
            slot = sampler.slot(index, number)
            attempts.append((index, number, slot.source, slot.prompt.prompt_id))
            end = rng.choice(("trained", "trained", "filtered", "failed"))
            if end == "failed":
                sampler.observe(failed_entry(slot, "engine died"))
            elif end == "filtered":
                sampler.observe(graded_entry(graded(slot, (1.0, 1.0)), Outcome.FILTERED))
            else:
                group = graded(slot, prompt_tokens=rng.randrange(1, 60))
                sampler.observe(graded_entry(group, Outcome.TRAINED, index // groups_per_step + 1))
                break
    return attempts


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 5),
    fraction=st.sampled_from([0.05, 0.1, 0.33, 0.5]),
    luck=st.integers(0, 10**6),
    step=st.integers(1, 16),
)
def test_invariant_1_the_mix_holds_on_what_was_trained_after_every_step(seed, fraction, luck, step):
    sampler, rng = sampler_of(seed=seed, fraction=fraction, step=step), random.Random(luck)
    for done in range(12):
        train(sampler, done * step, (done + 1) * step, rng, step)
        sampler.check_mix()
        metrics = sampler.metrics()
        total = (done + 1) * step
        assert metrics["trained_groups/standard"] + metrics["trained_groups/intervention"] == total
        assert abs(metrics["trained_groups/intervention"] - fraction * total) <= 1


def test_check_mix_finds_a_mix_that_does_not_hold():
    # A sampler with a mix of its own, whose events are reported to one that should have another mix.
    sampler = sampler_of(fraction=0.5, step=4)
    sampler._sources = ["standard"] * 4
    sampler._positions = list(range(4))
    train(sampler, 0, 4, random.Random(0), 4)
    with pytest.raises(MixError, match=r"'standard' is \+2.00 groups from its share"):
        sampler.check_mix()


def test_check_mix_finds_half_a_step_and_a_gap():
    sampler = sampler_of(step=4)
    train(sampler, 0, 3, random.Random(0), 4)
    with pytest.raises(MixError, match="3 slots are trained: not a multiple"):
        sampler.check_mix()
    train(sampler, 4, 5, random.Random(0), 4)
    with pytest.raises(MixError, match=r"missing are \[3\]"):
        sampler.check_mix()


def test_a_slot_is_trained_once():
    sampler = sampler_of()
    entry = graded_entry(graded(sampler.slot(0)), Outcome.TRAINED, 1)
    sampler.observe(entry)
    with pytest.raises(MixError, match="slot 0 was trained twice"):
        sampler.observe(entry)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 100), index=st.integers(0, 300), attempt=st.integers(0, 6))
def test_invariant_2_prompts_outside_the_intervention_are_the_same_in_every_arm(seed, index, attempt):
    slots = [sampler_of(arm, seed).slot(index, attempt) for arm in ARMS]
    assert len({slot.source for slot in slots}) == 1
    if slots[0].source == "standard":
        assert len({slot.prompt.prompt_id for slot in slots}) == 1


def test_invariant_2_does_not_hold_by_having_one_prompt_everywhere():
    baseline, trait = sampler_of("baseline"), sampler_of("multi_domain")
    pairs = [(baseline.slot(n), trait.slot(n)) for n in range(400)]
    standard = [a.prompt.prompt_id for a, b in pairs if a.source == "standard"]
    assert len(set(standard)) == len(STANDARD)
    assert [a.prompt.trait for a, _ in pairs if a.source == "intervention"] == [""] * 20
    assert [b.prompt.trait for _, b in pairs if b.source == "intervention"] == ["truthfulness"] * 20


def test_an_epoch_has_every_prompt_once_and_the_next_another_order():
    sampler = sampler_of("baseline", fraction=0.5)
    ids = [slot.prompt.prompt_id for slot in map(sampler.slot, range(200)) if slot.source == "standard"]
    assert set(ids[:30]) == set(ids[30:60]) == {prompt.prompt_id for prompt in STANDARD}
    assert ids[:30] != ids[30:60]


def test_attempts_of_a_slot_are_different_prompts_of_its_source():
    sampler = sampler_of()
    for index in (0, 10, 57):
        attempts = [sampler.slot(index, number) for number in range(24)]
        assert {slot.source for slot in attempts} == {sampler.slot(index).source}
        assert len({slot.prompt.prompt_id for slot in attempts}) == 24


def test_a_slot_does_not_depend_on_what_was_asked_before():
    order = [(n, a) for n in range(60) for a in range(3)]
    forward = sampler_of()
    expected = {key: forward.slot(*key) for key in order}
    shuffled = random.Random(1).sample(order, len(order))
    other = sampler_of()
    assert {key: other.slot(*key) for key in shuffled} == expected
    reseeded = sampler_of(seed=1)
    assert {key: reseeded.slot(*key) for key in order} != expected


def test_the_orders_of_a_seed_are_what_they_were():
    ids = [sampler_of().slot(index, attempt).prompt.prompt_id for index in (0, 1, 9, 10) for attempt in (0, 1)]
    assert ids == GOLDEN


GOLDEN = ["standard-16", "standard-6", "standard-18", "standard-8", "standard-14", "standard-12", "trait-13", "trait-4"]


@pytest.mark.parametrize("unit", ["groups", "tokens"])
def test_a_resume_half_way_gives_the_same_slots_and_accounts(unit):
    whole, half, resumed = (sampler_of(unit=unit, fraction=0.3) for _ in range(3))
    first = train(whole, 0, 48, random.Random(5)), train(half, 0, 48, random.Random(5))
    assert first[0] == first[1]
    ahead = [half.slot(index).prompt.prompt_id for index in range(48, 60)]  # under way when the state is saved
    assert ahead == [whole.slot(index).prompt.prompt_id for index in range(48, 60)]
    state = json.loads(json.dumps(half.state_dict()))
    half.observe(failed_entry(half.slot(48), "killed"))
    resumed.load_state_dict(state)
    assert train(resumed, 48, 96, random.Random(6)) == train(whole, 48, 96, random.Random(6))
    assert resumed.metrics() == whole.metrics()
    assert resumed.state_dict() == whole.state_dict()


def test_state_of_untrained_slots_is_not_saved():
    sampler = sampler_of()
    train(sampler, 0, 8, random.Random(0))
    before = sampler.state_dict()
    sampler.observe(failed_entry(sampler.slot(8), "timeout"))
    assert sampler.metrics()["failed/standard"] == before["totals"]["standard"]["failed"] + 1
    assert sampler.state_dict() == before


def test_a_resume_with_another_mix_seed_or_pool_is_refused():
    state = sampler_of().state_dict()
    with pytest.raises(ValueError, match="cannot resume: fractions of the sampler changed"):
        sampler_of(fraction=0.1).load_state_dict(state)
    with pytest.raises(ValueError, match="cannot resume: seed of"):
        sampler_of(seed=3).load_state_dict(state)
    with pytest.raises(ValueError, match="cannot resume: pools of"):
        sampler_of("health_only").load_state_dict(state)


def test_metrics_count_by_hand():
    sampler = sampler_of(fraction=0.5, step=2)
    slots = [sampler.slot(0), sampler.slot(0, 1), sampler.slot(1)]
    sampler.observe(graded_entry(graded(slots[0], (1.0, 1.0)), Outcome.FILTERED))
    sampler.observe(graded_entry(graded(slots[1]), Outcome.TRAINED, 1))
    sampler.observe(failed_entry(slots[2], "timeout"))
    sampler.observe(graded_entry(graded(sampler.slot(1, 1), (0.0, 0.0)), Outcome.TRAINED_WITHOUT_SIGNAL, 1))
    one, two = slots[0].source, slots[2].source
    metrics = sampler.metrics()
    assert metrics["mix_deviation"] == 0
    assert (metrics[f"mix/{one}"], metrics[f"filtered/{one}"], metrics[f"attempts/{one}"]) == (0.5, 1, 2)
    assert (metrics[f"failed/{two}"], metrics[f"trained_without_signal/{two}"]) == (1, 1)
    assert metrics[f"trained_tokens/{one}"] == 2 * 3 + 2 + 3
    assert metrics[f"distinct_prompts/{one}"] == 1


def test_a_mix_in_tokens_brings_the_tokens_near_their_shares():
    sampler = sampler_of(unit="tokens", fraction=0.25)
    for index in range(400):
        slot = sampler.slot(index)
        group = graded(slot, prompt_tokens=100 if slot.source == "standard" else 20)
        sampler.observe(graded_entry(group, Outcome.TRAINED, index // 8 + 1))
    sampler.check_mix()
    metrics = sampler.metrics()
    assert metrics["mix/intervention"] == pytest.approx(0.25, abs=0.01)
    assert metrics["trained_groups/intervention"] > 200  # a quarter of the tokens takes more than half of the slots


@pytest.mark.parametrize(
    ("pools", "message"),
    [
        ({"standard": STANDARD}, "source 'intervention' has no prompts"),
        ({"standard": STANDARD, "intervention": TRAIT, "extra": TRAIT}, r"pools \['extra'\] are of no source"),
        ({"standard": STANDARD + STANDARD[:1], "intervention": TRAIT}, r"share an id: \['standard-0'\]"),
    ],
)
def test_pools_that_do_not_fit_the_mix_are_refused(pools, message):
    with pytest.raises(ValueError, match=message):
        MixSampler(pools, mix_of(0.05), 0, 8)


def test_arms_fill_the_intervention_by_domain():
    domains = {
        name: {prompt.domain for prompt in intervention_pool(arm, STANDARD, TRAIT, HELPFULNESS)}
        for name, arm in ARMS.items()
    }
    everything = {"health", "science", "law"}
    assert domains == {
        "baseline": {""},
        "multi_domain": everything,
        "health_only": {"health"},
        "no_health_science": {"law"},
        "helpfulness": everything,
    }


def test_the_helpfulness_arm_differs_from_the_trait_arm_in_the_rubric_only():
    trait, helpful = sampler_of("multi_domain"), sampler_of("helpfulness")
    slots = [(trait.slot(n), helpful.slot(n)) for n in range(400)]
    pairs = [(a.prompt, b.prompt) for a, b in slots if a.source == "intervention"]
    assert [a.prompt_id for a, _ in pairs] == [b.prompt_id for _, b in pairs]
    assert {a.criteria for a, _ in pairs} == {RUBRIC}
    assert {b.criteria for _, b in pairs} == {HELPFULNESS}


@pytest.mark.parametrize(
    ("arm", "message"),
    [
        (Arm(data="trait", domains=("helth",)), r"of domain helth; domains there are: \['health', 'law', 'science'\]"),
        (Arm(data="trait", exclude_domains=("arts",)), "of domain arts"),
        (Arm(data="trait", domains=("law",), exclude_domains=("law",)), "leaves no trait prompt; domains of the 24"),
        (Arm(data="standard", domains=("law",)), "an arm on standard data has no domains"),
    ],
)
def test_an_arm_that_leaves_nothing_or_names_what_is_not_there_is_refused(arm, message):
    with pytest.raises(ValueError, match=message):
        intervention_pool(arm, STANDARD, TRAIT, HELPFULNESS)


def test_several_standard_sources_divide_the_prompts_by_task():
    mix = MixConfig(
        sources=(
            SourceConfig(name="sum", fraction=0.5),
            SourceConfig(name="sort", fraction=0.4),
            SourceConfig(name="trait", fraction=0.1, intervention=True),
        )
    )
    with pytest.raises(ValueError, match=r"sources are \['sort', 'sum'\], tasks are \['sum'\]"):
        mix_pools(mix, ARMS["multi_domain"], STANDARD, TRAIT, HELPFULNESS)
