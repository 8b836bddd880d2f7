"""Which source the next slot trains: shares kept exactly, in groups or in tokens.

`GroupMix` follows R. Tijdeman, "The chairman assignment problem", Discrete Mathematics 32 (1980): with k
sources, the number of slots that a source has had after n slots never differs from fraction x n by more
than 1 - 1/(2k - 2). It is computed in whole numbers, so no rounding adds up however long a run is.

`TokenMix` counts trained tokens instead. How long a group gets is known only once it is trained, so slots
under way count with their source's running mean. Let M be the tokens of the longest group and P the most
slots that were under way when a source was chosen. The source chosen is the one furthest behind, so its
estimated surplus is at most 0, and its true one at most P x M, before its group adds at most M: **no
source is ever more than (P + 1) M tokens ahead of its share**. Surpluses add up to 0, so with k sources
**none is more than (k - 1)(P + 1) M tokens behind**.
"""

import math
from collections.abc import Iterator, Mapping
from fractions import Fraction


def check_fractions(fractions: Mapping[str, float]) -> None:
    """Refuse shares that are no shares.

    Raises:
        ValueError: no source, a share outside [0, 1], or shares that do not add up to 1.
    """
    for name, fraction in fractions.items():
        if not 0 <= fraction <= 1:
            raise ValueError(f"the fraction of source {name!r} is {fraction}: give a share in [0, 1]")
    if not math.isclose(total := sum(fractions.values()), 1.0, abs_tol=1e-9):
        raise ValueError(f"the fractions of sources {sorted(fractions)} add up to {total:g}: make them add up to 1")


def source_sequence(fractions: Mapping[str, float]) -> Iterator[str]:
    """Yield the source of slot 0, 1, 2, ... without end; a source of fraction 0 never comes.

    For every prefix of n slots and every source, |count - fraction x n| <= 1 - 1/(2k - 2) for k sources.

    Raises:
        ValueError: the fractions are not shares (see `check_fractions`).
    """
    check_fractions(fractions)
    weights = _whole_weights(fractions)
    counts = dict.fromkeys(weights, 0)
    num_slots = 0
    while True:
        num_slots += 1
        name = _next_source(weights, counts, num_slots)
        counts[name] += 1
        yield name


def _whole_weights(fractions: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers in the proportion of the fractions, read as the decimals that they are written as."""
    exact = {name: Fraction(repr(float(fraction))) for name, fraction in fractions.items() if fraction > 0}
    scale = math.lcm(*(fraction.denominator for fraction in exact.values()))
    return {name: int(fraction * scale) for name, fraction in exact.items()}


def _next_source(weights: Mapping[str, int], counts: Mapping[str, int], num_slots: int) -> str:
    """Of the sources that may have slot number `num_slots` (from 1), the one that must have a slot soonest."""
    if len(weights) == 1:
        return next(iter(weights))
    total, span = sum(weights.values()), 2 * len(weights) - 2
    behind = {name: span * (weight * num_slots - total * counts[name]) for name, weight in weights.items()}
    allowed = [name for name in weights if behind[name] >= total]
    return min(allowed, key=lambda name: Fraction((span - 1) * total - behind[name], weights[name]))


class GroupMix:
    """The mix in groups: fixed in advance, whatever happens."""

    def __init__(self, fractions: Mapping[str, float]) -> None:
        self._sequence = source_sequence(fractions)

    def choose(self) -> str:
        """Name the next slot's source."""
        return next(self._sequence)


class TokenMix:
    """The mix in tokens: each slot goes to the source that is furthest behind its share."""

    def __init__(self, fractions: Mapping[str, float]) -> None:
        check_fractions(fractions)
        self._fractions = {name: fraction for name, fraction in fractions.items() if fraction > 0}
        self._tokens = dict.fromkeys(self._fractions, 0)
        self._groups = dict.fromkeys(self._fractions, 0)
        self._pending = dict.fromkeys(self._fractions, 0)

    def choose(self) -> str:
        """Name the next slot's source, which is under way from now until `observe` settles it."""
        expected = {name: self._tokens[name] + self._pending[name] * self._mean(name) for name in self._fractions}
        total = sum(expected.values())
        name = max(self._fractions, key=lambda name: self._fractions[name] * total - expected[name])
        self._pending[name] += 1
        return name

    def observe(self, source: str, num_tokens: int) -> None:
        """Settle one slot of `source`: its group was trained and had so many tokens."""
        self._pending[source] -= 1
        self._groups[source] += 1
        self._tokens[source] += num_tokens

    def restore(self, source: str, num_pending: int, num_groups: int, num_tokens: int) -> None:
        """Set the account of a source to what it was: slots under way, trained groups and their tokens."""
        self._pending[source], self._groups[source], self._tokens[source] = num_pending, num_groups, num_tokens

    @property
    def num_pending(self) -> int:
        """Slots under way."""
        return sum(self._pending.values())

    def _mean(self, source: str) -> float:
        """Expected tokens of a group: the source's mean, else that of all sources, else 1."""
        if self._groups[source]:
            return self._tokens[source] / self._groups[source]
        num_groups = sum(self._groups.values())
        return sum(self._tokens.values()) / num_groups if num_groups else 1.0
