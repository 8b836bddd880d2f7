"""Reading a ledger: the entries that count, whether they add up, and their totals."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from rollout.ledger_entry import LedgerEntry, Outcome, Superseded


class LedgerError(RuntimeError):
    """The ledger does not add up, or cannot be read. Lists every problem found."""

    def __init__(self, path: str, problems: tuple[str, ...]) -> None:
        super().__init__(path, problems)
        self.path, self.problems = path, problems

    def __str__(self) -> str:
        return f"{self.path}: " + "; ".join(self.problems)


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What a ledger that adds up says."""

    num_slots: int
    """Slots trained, each exactly once."""
    num_attempts: int
    outcomes: dict[Outcome, int]
    """Attempts by how they ended."""
    num_superseded: int
    """Attempts that a resume did over."""


class LedgerSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Totals of one source, trait or other division of the attempts that count."""

    num_attempts: int
    num_trained: int
    """Groups trained, with and without signal."""
    num_without_signal: int
    num_filtered: int
    num_failed: int
    num_distinct_prompts: int
    """Different prompts among the trained groups."""
    num_completions: int
    num_truncated: int
    num_ungraded: int
    num_generated_tokens: int
    num_trained_tokens: int
    num_judge_tokens: int
    reward_mean: float | None
    """Mean over trained groups of their mean reward."""


_DECODER = msgspec.json.Decoder(LedgerEntry | Superseded)


def _records(path: str | Path) -> Iterator[LedgerEntry | Superseded]:
    """Yield every line that was written whole, superseded ones included.

    A cut-off line may stand only where a run was killed: at the end, or above the marker of the resume.

    Raises:
        LedgerError: a damaged line anywhere else, or no such file.
    """
    if not Path(path).exists():
        raise LedgerError(str(path), ("there is no such ledger",))
    damaged: int | None = None
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                record = _DECODER.decode(line)
            except msgspec.MsgspecError:
                damaged = damaged or number
                continue
            if damaged and not (isinstance(record, Superseded) and record.torn):
                raise LedgerError(str(path), (f"line {damaged} is damaged, and no run was resumed after it",))
            damaged = None
            yield record


def is_torn(path: str | Path) -> bool:
    """Whether the last line was cut off, so that one appended now would run into it or leave it unexplained."""
    with open(path, "rb") as file:
        last = deque(file, maxlen=1)
    return any(not line.endswith(b"\n") or not _is_whole(line) for line in last)


def _is_whole(line: bytes) -> bool:
    try:
        _DECODER.decode(line)
    except msgspec.MsgspecError:
        return False
    return True


def _resume_points(path: str | Path) -> list[tuple[int, int]]:
    """Each resume as the number of whole lines above it and its first slot, in order."""
    return [(n, record.first_slot) for n, record in enumerate(_records(path)) if isinstance(record, Superseded)]


def read_ledger(path: str | Path) -> Iterator[LedgerEntry]:
    """Yield the entries of a ledger that count, in the order written, reading the file twice and keeping none.

    Raises:
        LedgerError: a damaged line that no kill explains, or no such file.
    """
    resumes = _resume_points(path)
    for number, record in enumerate(_records(path)):
        if isinstance(record, LedgerEntry) and all(number > n or record.slot < first for n, first in resumes):
            yield record


def audit_ledger(path: str | Path, groups_per_step: int, steps: int) -> Audit:
    """Check that a ledger adds up after `steps` optimizer steps.

    Of what counts: each slot below steps * groups_per_step was trained exactly once, by the last of its
    attempts and in its step; every other attempt was filtered or failed; and nothing is under way.

    Raises:
        LedgerError: with every problem and its slot numbers.
    """
    book = _Book()
    for entry in read_ledger(path):
        book.enter(entry, groups_per_step)
    problems = book.problems(steps * groups_per_step)
    if problems:
        raise LedgerError(str(path), problems)
    return Audit(
        num_slots=len(book.trained),
        num_attempts=len(book.ended),
        outcomes=dict(book.outcomes),
        num_superseded=sum(record.num_attempts for record in _records(path) if isinstance(record, Superseded)),
    )


class _Book:
    """The state of an audit: attempts by (slot, attempt), and slots with something wrong by what it is."""

    def __init__(self) -> None:
        self.dispatched: set[tuple[int, int]] = set()
        self.ended: set[tuple[int, int]] = set()
        self.trained: set[int] = set()
        self.last_attempt: dict[int, int] = {}
        self.outcomes: Counter[Outcome] = Counter()
        self.wrong: dict[str, list[int]] = {}

    def enter(self, entry: LedgerEntry, groups_per_step: int) -> None:
        key = (entry.slot, entry.attempt)
        if entry.outcome.is_final:
            self._end(key, entry, groups_per_step)
            return
        self._expect(entry.slot not in self.trained, "dispatched after they were trained", entry.slot)
        self._expect(entry.attempt == self.last_attempt.get(entry.slot, -1) + 1, "attempts out of order", entry.slot)
        self.last_attempt[entry.slot] = entry.attempt
        self.dispatched.add(key)

    def _end(self, key: tuple[int, int], entry: LedgerEntry, groups_per_step: int) -> None:
        self._expect(key in self.dispatched, "ended without being dispatched", entry.slot)
        self._expect(key not in self.ended, "an attempt with two ends", entry.slot)
        self.ended.add(key)
        self.outcomes[entry.outcome] += 1
        if entry.outcome.is_trained:
            self._expect(entry.slot not in self.trained, "trained more than once", entry.slot)
            self._expect(entry.step == entry.slot // groups_per_step + 1, "trained in another step", entry.slot)
            self.trained.add(entry.slot)

    def _expect(self, holds: bool, problem: str, slot: int) -> None:
        if not holds:
            self.wrong.setdefault(problem, []).append(slot)

    def problems(self, num_slots: int) -> tuple[str, ...]:
        wrong = {
            **self.wrong,
            "never trained": [slot for slot in range(num_slots) if slot not in self.trained],
            f"trained beyond the last slot, {num_slots - 1},": [slot for slot in self.trained if slot >= num_slots],
            "dispatched and never heard of again": [slot for slot, _ in self.dispatched - self.ended],
        }
        return tuple(f"{problem}: {_slots(slots)}" for problem, slots in wrong.items() if slots)


def _slots(slots: list[int]) -> str:
    """Name the first slots of a list, and how many more there are."""
    ordered = sorted(set(slots))
    more = f" and {len(ordered) - 10} more" if len(ordered) > 10 else ""
    return f"slot{'s' if len(ordered) > 1 else ''} {', '.join(map(str, ordered[:10]))}{more}"


def summarize(path: str | Path, key: Callable[[LedgerEntry], str]) -> dict[str, LedgerSummary]:
    """Total the ended attempts that count by `key`, such as an entry's source, trait or domain.

    Example:
        >>> summarize(path, lambda entry: entry.source)["intervention"].num_trained
    """
    totals: dict[str, _Total] = {}
    for entry in read_ledger(path):
        if entry.outcome.is_final:
            totals.setdefault(key(entry), _Total()).add(entry)
    return {name: total.summary() for name, total in totals.items()}


class _Total:
    """Running totals of `summarize`."""

    def __init__(self) -> None:
        self.outcomes: Counter[Outcome] = Counter()
        self.sums: Counter[str] = Counter()
        self.prompts: set[str] = set()
        self.reward = 0.0
        self.num_rewarded = 0

    def add(self, entry: LedgerEntry) -> None:
        self.outcomes[entry.outcome] += 1
        for name in _SUMMED:
            self.sums[name] += getattr(entry, name)
        if entry.outcome.is_trained:
            self.prompts.add(entry.prompt_id)
            if entry.reward_mean is not None:
                self.reward += entry.reward_mean
                self.num_rewarded += 1

    def summary(self) -> LedgerSummary:
        without_signal = self.outcomes[Outcome.TRAINED_WITHOUT_SIGNAL]
        return LedgerSummary(
            num_attempts=self.outcomes.total(),
            num_trained=self.outcomes[Outcome.TRAINED] + without_signal,
            num_without_signal=without_signal,
            num_filtered=self.outcomes[Outcome.FILTERED],
            num_failed=self.outcomes[Outcome.FAILED],
            num_distinct_prompts=len(self.prompts),
            reward_mean=self.reward / self.num_rewarded if self.num_rewarded else None,
            **{name: self.sums[name] for name in _SUMMED},
        )


_SUMMED = (
    "num_completions",
    "num_truncated",
    "num_ungraded",
    "num_generated_tokens",
    "num_trained_tokens",
    "num_judge_tokens",
)
