from collections import Counter
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollout.mix import TokenMix, source_sequence


def as_fractions(parts: list[int]) -> dict[str, float]:
    return {f"s{i}": part / sum(parts) for i, part in enumerate(parts)}


shares = st.lists(st.integers(0, 1000), min_size=1, max_size=6).filter(any).map(as_fractions)


def test_five_percent_comes_once_in_every_twenty():
    sequence = list(islice(source_sequence({"standard": 0.95, "intervention": 0.05}), 200))
    places = [n for n, name in enumerate(sequence) if name == "intervention"]
    assert len(places) == 10
    assert {later - earlier for earlier, later in pairwise(places)} == {20}


def test_three_sources_by_hand():
    # Shares 1/2, 1/4, 1/4; k = 3, so a source may have a slot once it is 1/4 behind, and must within 3/4.
    # Behind at slots 1 to 4: (.5 .25 .25) a, soonest overdue; (0 .5 .5) b; (.5 -.25 .75) c; (1 0 0) a; level again.
    assert "".join(islice(source_sequence({"a": 0.5, "b": 0.25, "c": 0.25}), 8)) == "abcaabca"


@settings(deadline=None, max_examples=200)
@given(fractions=shares, num_slots=st.integers(1, 400))
def test_no_prefix_is_more_than_tijdemans_bound_from_its_share(fractions, num_slots):
    k = sum(fraction > 0 for fraction in fractions.values())
    bound = 1 - 1 / (2 * k - 2) if k > 1 else 0
    counts = Counter()
    for n, name in enumerate(islice(source_sequence(fractions), num_slots), start=1):
        counts[name] += 1
        assert all(abs(counts[s] - f * n) <= bound + 1e-9 for s, f in fractions.items())


def test_a_source_of_fraction_zero_never_comes():
    assert set(islice(source_sequence({"standard": 1.0, "intervention": 0.0}), 50)) == {"standard"}


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"a": 1.2, "b": -0.2}, "the fraction of source 'a' is 1.2: give a share in"),
        ({"a": 0.5, "b": 0.4}, r"\['a', 'b'\] add up to 0.9: make them add up to 1"),
        ({}, "add up to 0"),
    ],
)
def test_fractions_that_are_no_shares_are_refused(fractions, message):
    with pytest.raises(ValueError, match=message):
        next(source_sequence(fractions))


def test_tokens_go_to_the_source_furthest_behind_by_hand():
    mix = TokenMix({"long": 0.5, "short": 0.5})
    mix.observe(mix.choose(), 90)  # both are level: the first, long
    assert mix.choose() == "short"
    mix.observe("short", 10)
    # long has 90 and short 10 of 100: short is 40 behind, and eight slots at its mean of 10 bring it level.
    assert [mix.choose() for _ in range(8)] == ["short"] * 8
    assert mix.choose() == "long"


@settings(deadline=None, max_examples=200)
@given(
    fractions=shares,
    sizes=st.lists(st.integers(1, 500), min_size=1, max_size=150),
    ahead=st.integers(0, 12),
)
def test_token_mix_keeps_its_documented_bound_with_slots_under_way(fractions, sizes, ahead):
    mix, under_way, tokens = TokenMix(fractions), [], Counter()
    k = sum(fraction > 0 for fraction in fractions.values())
    for size in sizes:
        most_pending = mix.num_pending
        under_way.append((mix.choose(), size))
        assert most_pending <= ahead
        if len(under_way) > ahead:
            source, settled = under_way.pop(0)
            mix.observe(source, settled)
            tokens[source] += settled
            total = sum(tokens.values())
            bound = (ahead + 1) * max(sizes)
            for name, fraction in fractions.items():
                assert -max(1, k - 1) * bound <= tokens[name] - fraction * total <= bound
