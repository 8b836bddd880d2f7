"""Which prompt is tried in which slot: a function of the seed, the mix and the pools, and nothing else.

A slot's source is fixed by the mix. The j-th slot of a source takes the j-th prompt of that source's own
order: epochs without replacement, each shuffled by the seed, the source's name and the epoch. A refill
(attempt 1, 2, ...) takes the j-th prompt of a further order, passing over prompts already tried in the
slot. So nothing that happens to one slot moves the prompts of another, and arms that differ in the
intervention source alone see the same prompts everywhere else, refills included.

With `unit = "tokens"` the sources depend on how long the groups were, so arms differ; a run still resumes
with the slots that it had.
"""

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from rollout.config import MixConfig
from rollout.ledger_entry import LedgerEntry, Outcome
from rollout.mix import GroupMix, TokenMix
from rollout.types import Prompt, Slot


class MixError(RuntimeError):
    """What was trained is not the mix that was asked for: invariant 1 is broken."""


@lru_cache(maxsize=128)
def _permutation(salt: str, size: int) -> list[int]:
    order = list(range(size))
    random.Random(salt).shuffle(order)
    return order


class PromptOrder:
    """The orders of one source's prompts: one for first attempts, one for each further attempt."""

    def __init__(self, prompts: Sequence[Prompt], salt: str) -> None:
        self._prompts = prompts
        self._salt = salt

    def prompt(self, position: int, attempt: int) -> Prompt:
        """Return the prompt of attempt `attempt` in the source's slot number `position`, from 0.

        The attempts of one slot are different prompts until the pool has no more.
        """
        tried: list[int] = []
        for number in range(attempt + 1):
            tried.append(self._untried(position, number, tried))
        return self._prompts[tried[-1]]

    def _untried(self, position: int, attempt: int, tried: Sequence[int]) -> int:
        size = len(self._prompts)
        choices = (self._at(position + step, attempt) for step in range(2 * size))
        return next((index for index in choices if index not in tried), self._at(position, attempt))

    def _at(self, position: int, attempt: int) -> int:
        epoch, offset = divmod(position, len(self._prompts))
        return _permutation(f"{self._salt}/{attempt}/{epoch}", len(self._prompts))[offset]


class SourceTotals(msgspec.Struct, kw_only=True):
    """What has become of one source's slots. Counts only slots that were trained in the end."""

    groups: int = 0
    """Trained groups."""
    without_signal: int = 0
    """Of these, groups whose rewards were all the same."""
    tokens: int = 0
    """Trained tokens."""
    filtered: int = 0
    failed: int = 0
    prompts: set[str] = msgspec.field(default_factory=set)
    """Ids of the prompts trained."""


class SamplerState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `MixSampler.state_dict` saves, between two optimizer steps."""

    identity: dict[str, Any]
    """Of the slots: seed, mix, pools. Must be the same on both sides of a resume."""
    trained_slots: int
    totals: dict[str, SourceTotals]
    sources: list[str]
    """The source of every slot given out, when the mix counts tokens; else empty."""
    longest_group: int
    most_pending: int


class MixSampler:
    """Gives out slots, and keeps account of what was trained in them."""

    def __init__(self, pools: Mapping[str, Sequence[Prompt]], mix: MixConfig, seed: int, groups_per_step: int) -> None:
        """Check the pools against the mix.

        Args:
            pools: the prompts of every source of the mix.
            mix: the sources and their fractions.
            seed: of all orders.
            groups_per_step: slots of one optimizer step.

        Raises:
            ValueError: fractions that are no shares, a source named twice or without prompts, a pool
                without its source, or two prompts of a pool with one id.
        """
        self._fractions = {source.name: source.fraction for source in mix.sources}
        if len(self._fractions) < len(mix.sources):
            raise ValueError(f"two sources have one name: {[source.name for source in mix.sources]}")
        _check_pools(pools, self._fractions)
        self._in_tokens = mix.unit == "tokens"
        self._mix: GroupMix | TokenMix = TokenMix(self._fractions) if self._in_tokens else GroupMix(self._fractions)
        self._orders = {name: PromptOrder(pool, f"{seed}/{name}") for name, pool in pools.items()}
        self._identity: dict[str, Any] = {
            "seed": seed,
            "groups_per_step": groups_per_step,
            "unit": mix.unit,
            "fractions": self._fractions,
            "pools": {name: _digest(pool) for name, pool in pools.items()},
        }
        self._groups_per_step = groups_per_step
        self._sources: list[str] = []
        self._positions: list[int] = []
        self._next_position = dict.fromkeys(self._fractions, 0)
        self._totals = {name: SourceTotals() for name in self._fractions}
        self._trained: set[int] = set()
        self._untrained: dict[int, Counter[Outcome]] = {}
        self._longest_group = 1
        self._most_pending = 0

    def slot(self, index: int, attempt: int = 0) -> Slot:
        """Return a slot with the prompt of one of its attempts.

        In groups it depends on nothing but the constructor's arguments; in tokens, slots must be asked for
        in the order of training, since a slot's source is decided when it is first asked for.

        Raises:
            ValueError: a negative index or attempt.
        """
        if index < 0 or attempt < 0:
            raise ValueError(f"slots and attempts count from 0, got slot {index}, attempt {attempt}")
        while len(self._sources) <= index:
            if isinstance(self._mix, TokenMix):
                self._most_pending = max(self._most_pending, self._mix.num_pending)
            self._place(self._mix.choose())
        source = self._sources[index]
        prompt = self._orders[source].prompt(self._positions[index], attempt)
        return Slot(index=index, source=source, attempt=attempt, prompt=prompt)

    def _place(self, source: str) -> None:
        self._sources.append(source)
        self._positions.append(self._next_position[source])
        self._next_position[source] += 1

    def observe(self, event: LedgerEntry) -> None:
        """Take note of what became of an attempt.

        Raises:
            MixError: the slot was trained before, or its source is not the entry's.
        """
        source = self.slot(event.slot).source
        if event.source != source:
            raise MixError(f"slot {event.slot} is of source {source!r}, and was reported as of {event.source!r}")
        if event.outcome.needs_refill:
            self._untrained.setdefault(event.slot, Counter())[event.outcome] += 1
        if event.outcome.is_trained:
            self._settle(event, self._totals[source])

    def _settle(self, event: LedgerEntry, totals: SourceTotals) -> None:
        if event.slot in self._trained:
            raise MixError(f"slot {event.slot} was trained twice: each slot is trained once")
        self._trained.add(event.slot)
        ended = self._untrained.pop(event.slot, Counter())
        totals.filtered += ended[Outcome.FILTERED]
        totals.failed += ended[Outcome.FAILED]
        totals.groups += 1
        totals.without_signal += event.outcome is Outcome.TRAINED_WITHOUT_SIGNAL
        totals.tokens += event.num_trained_tokens
        totals.prompts.add(event.prompt_id)
        self._longest_group = max(self._longest_group, event.num_trained_tokens)
        if isinstance(self._mix, TokenMix):
            self._mix.observe(event.source, event.num_trained_tokens)

    def check_mix(self) -> None:
        """Check invariant 1 between two optimizer steps: whole steps were trained, and in the mix asked for.

        In groups no source is more than 1 from its share; in tokens, the bound is that of `TokenMix`.

        Raises:
            MixError: it does not hold; names the slots or the source.
        """
        num_trained = len(self._trained)
        if missing := sorted(set(range(num_trained)) - self._trained):
            raise MixError(f"slots were trained out of order: of the first {num_trained}, missing are {missing[:10]}")
        if num_trained % self._groups_per_step:
            raise MixError(f"{num_trained} slots are trained: not a multiple of groups_per_step")
        unit = "tokens" if self._in_tokens else "groups"
        for name, surplus in self._surplus().items():
            if not -self._bound_behind() <= surplus <= self._bound_ahead():
                raise MixError(f"source {name!r} is {surplus:+.2f} {unit} from its share of what was trained")

    def _bound_ahead(self) -> float:
        return (self._most_pending + 1.0) * self._longest_group if self._in_tokens else 1.0

    def _bound_behind(self) -> float:
        return max(1, len(self._fractions) - 1) * self._bound_ahead() if self._in_tokens else 1.0

    def _amounts(self) -> dict[str, int]:
        return {name: total.tokens if self._in_tokens else total.groups for name, total in self._totals.items()}

    def _surplus(self) -> dict[str, float]:
        """How much more of each source was trained than its share, in the mix's unit."""
        amounts = self._amounts()
        total = sum(amounts.values())
        return {name: amount - self._fractions[name] * total for name, amount in amounts.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return what a resume needs, of JSON's types. Attempts of untrained slots are left out: they are redone.

        Raises:
            MixError: not between two optimizer steps (see `check_mix`).
        """
        self.check_mix()
        state = SamplerState(
            identity=self._identity,
            trained_slots=len(self._trained),
            totals=self._totals,
            sources=self._sources if self._in_tokens else [],
            longest_group=self._longest_group,
            most_pending=self._most_pending,
        )
        return msgspec.to_builtins(state, order="deterministic")

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go back to where `state_dict` was taken; only on a new sampler.

        Raises:
            ValueError: the seed, the mix or the pools differ, so the slots would not be the same.
        """
        saved = msgspec.convert(dict(state), SamplerState)
        changed = [name for name, value in self._identity.items() if saved.identity.get(name) != value]
        if changed:
            raise ValueError(
                f"cannot resume: {', '.join(changed)} of the sampler changed since the checkpoint, so its slots "
                "would not be the same; restore what was changed, or start a new run"
            )
        for source in saved.sources:
            self._place(source)
        self._trained = set(range(saved.trained_slots))
        self._totals = saved.totals
        self._longest_group, self._most_pending = saved.longest_group, saved.most_pending
        self._restore_mix()

    def _restore_mix(self) -> None:
        if isinstance(self._mix, TokenMix):
            given_out = Counter(self._sources)
            for name in given_out:
                totals = self._totals[name]
                self._mix.restore(name, given_out[name] - totals.groups, totals.groups, totals.tokens)

    def metrics(self) -> dict[str, float]:
        """Return what was trained so far: by source the share, groups, tokens, attempts and prompts.

        `mix_deviation` is the largest difference of a source from its share, in the mix's unit; attempts
        of slots that are not trained yet count as attempts too.
        """
        amounts = self._amounts()
        total = sum(amounts.values())
        metrics = {"mix_deviation": max(map(abs, self._surplus().values()))}
        for name, totals in self._totals.items():
            open_counts = self._open_counts(name)
            filtered = totals.filtered + open_counts[Outcome.FILTERED]
            failed = totals.failed + open_counts[Outcome.FAILED]
            metrics |= {
                f"mix/{name}": amounts[name] / total if total else 0.0,
                f"trained_groups/{name}": totals.groups,
                f"trained_without_signal/{name}": totals.without_signal,
                f"trained_tokens/{name}": totals.tokens,
                f"attempts/{name}": totals.groups + filtered + failed,
                f"filtered/{name}": filtered,
                f"failed/{name}": failed,
                f"distinct_prompts/{name}": len(totals.prompts),
            }
        return metrics

    def _open_counts(self, source: str) -> Counter[Outcome]:
        counts = (count for slot, count in self._untrained.items() if self._sources[slot] == source)
        return sum(counts, Counter())


def _check_pools(pools: Mapping[str, Sequence[Prompt]], fractions: Mapping[str, float]) -> None:
    if strangers := sorted(pools.keys() - fractions.keys()):
        raise ValueError(f"pools {strangers} are of no source of the mix; its sources are {sorted(fractions)}")
    for name, fraction in fractions.items():
        if fraction > 0 and not pools.get(name):
            raise ValueError(f"source {name!r} has no prompts: give it some, or the fraction 0")
    for name, pool in pools.items():
        counts = Counter(prompt.prompt_id for prompt in pool)
        if twice := [prompt_id for prompt_id, count in counts.items() if count > 1]:
            raise ValueError(f"prompts of source {name!r} share an id: {twice[:3]}; make every prompt_id unique")


def _digest(pool: Iterable[Prompt]) -> str:
    """Content hash of a pool, in its order."""
    digest = hashlib.sha256()
    for prompt in pool:
        digest.update(msgspec.json.encode(prompt) + b"\n")
    return digest.hexdigest()[:16]
