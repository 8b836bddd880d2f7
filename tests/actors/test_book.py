"""Sampler, filler, book and controller together, with everything remote faked: invariants 1 and 6 end to end."""

import asyncio
import json
import random
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from actors.book import RunBook
from actors.clock import BusyClock
from actors.config import Config
from actors.controller import Controller
from actors.filler import Attempt, SlotFiller
from actors.folder import RunFolder, read_lines
from evaluation.compute import ComputeLedger
from grading.types import Grade, Verdict, VerdictStatus
from learner.batch import StaleSample
from rollout.config import MixConfig, RolloutConfig, SourceConfig
from rollout.diagnosis import AttemptHealth
from rollout.engine import DeadlineExceeded, EngineDied
from rollout.ledger import Ledger, LedgerEntry, LedgerError, Outcome, summarize
from rollout.sampler import MixError, MixSampler
from rollout.types import GenerateRequest, SamplingConfig, Slot
from tests.actors.fakes import FakeGenerator, FakeGrader, FakeLearner, Killed, group, run, step_metrics, ticks
from tests.rollout.worlds import standard_prompts, trait_prompts

PER_STEP, STEPS, EVERY = 5, 24, 4
FRACTIONS = {"sums": 0.55, "words": 0.3, "intervention": 0.15}
POOLS = {"sums": standard_prompts(13), "words": standard_prompts(7), "intervention": trait_prompts(6)}


def config_of(unit: str = "groups", lag: int = 2, groups_per_step: int = PER_STEP) -> Config:
    sources = tuple(
        SourceConfig(name=name, fraction=fraction, intervention=name == "intervention")
        for name, fraction in FRACTIONS.items()
    )
    return Config(
        name="test",
        steps=STEPS,
        groups_per_step=groups_per_step,
        max_policy_lag=lag,
        mix=MixConfig(sources=sources, unit=unit),
        rollout=RolloutConfig(sampling=SamplingConfig(num_samples=3), max_attempts=3, max_failures=20),
    )


def fate(slot: Slot) -> tuple[float | None, ...]:
    """The rewards of an attempt: a function of slot and attempt, so that a resumed run meets the same."""
    chance = random.Random(f"grades {slot.index}.{slot.attempt}").random()
    if chance < 0.3:
        return (1.0, 1.0, 1.0)
    if chance < 0.4:
        return (None, None, None)
    if chance < 0.5:
        return (None, None, 1.0)
    if chance < 0.6:
        return (0.25, None, 0.75)
    return (1.0, 0.0, 0.5)


def accident(request: GenerateRequest) -> Exception | None:
    chance = random.Random(f"accidents {request.request_id}").random()
    if chance < 0.05:
        return EngineDied("engine-0", "out of memory")
    if chance < 0.1:
        return DeadlineExceeded("engine-0", "generate", request.request_id, 1.0)
    return ValueError("the prompt is too long") if chance < 0.15 else None


class Process:
    """One process of a run: from its start or a checkpoint until its end or its death."""

    def __init__(self, path: Path, config: Config, seed: int = 0, checkpoint: str = "", kill_at: int | None = None):
        (path / "rollouts").mkdir(parents=True, exist_ok=True)
        self.config, self.path, self.seed = config, path, seed
        self.sampler = MixSampler(POOLS, config.mix, seed=0, groups_per_step=config.groups_per_step)
        self.first_step, self.compute = 0, ComputeLedger()
        if checkpoint:
            saved = json.loads(checkpoint)
            self.first_step = saved["step"]
            self.sampler.load_state_dict(saved["state"]["sampler"])
            self.compute = msgspec.convert(saved["state"]["compute"], ComputeLedger)
        self.learner = FakeLearner(self.first_step, most_ticks=20, seed=seed)
        self.learner.fail_at_step = kill_at
        self.fleet_version = self.first_step
        self.checkpoint, self.folder = checkpoint, RunFolder(path)
        self.figures: list[dict[str, float]] = []
        self.words: list[str] = []

    @property
    def ledger_path(self) -> Path:
        return self.path / "ledger.jsonl"

    def open_ledger(self) -> Ledger:
        if self.ledger_path.exists():
            return Ledger.reopen(self.ledger_path, self.config.groups_per_step, self.first_step)
        return Ledger.create(self.ledger_path, self.config.groups_per_step)

    def make_book(self, ledger: Ledger) -> RunBook:
        return RunBook(
            config=self.config, folder=self.folder, ledger=ledger, sampler=self.sampler, compute=self.compute,
            show=self.show, tell=self.words.append, gauges=lambda: {"fleet/serving": 1.0},
        )  # fmt: skip

    def show(self, figures: dict[str, float]) -> None:
        self.figures.append(figures)

    async def publish(self, version: int) -> None:
        await ticks(2)
        self.fleet_version = version

    async def save(self, step: int) -> None:
        self.checkpoint = json.dumps({"step": step, "state": self.book.client_state()})
        await ticks(1)

    async def train(self) -> None:
        generator = FakeGenerator(lambda: self.fleet_version, self.seed, most_ticks=9)
        generator.fail = accident
        with self.open_ledger() as ledger:
            self.book = self.make_book(ledger)
            filler = SlotFiller(
                self.book.draw, generator, FakeGrader(fate), self.book.keep, self.book.attempted,
                self.config.rollout, self.book.diagnosis,
            )  # fmt: skip
            controller = Controller(
                fill=filler.fill, trainer=self.learner, publish=self.publish, checkpoint=self.save,
                is_checkpoint_step=lambda step: step % EVERY == 0 or step == STEPS, events=self.book,
                clock=BusyClock(), learner_lock=asyncio.Lock(), groups_per_step=self.config.groups_per_step,
                max_policy_lag=self.config.max_policy_lag,
            )  # fmt: skip
            await controller.run(self.first_step, STEPS)
            self.book.finish()


def finished(path: Path, config: Config, kills: int, seed: int) -> Process:
    """A run that is killed at random steps so many times, and resumed each time from its last checkpoint."""
    chance, checkpoint = random.Random(seed), ""
    for _ in range(kills):
        first = json.loads(checkpoint)["step"] if checkpoint else 0
        process = Process(path, config, seed, checkpoint, kill_at=chance.randrange(first, STEPS))
        with pytest.raises(Killed):
            run(process.train)
        checkpoint = process.checkpoint
        if chance.random() < 0.5:
            with process.ledger_path.open("ab") as file:
                file.write(b'{"line":"attempt","slot":9')  # the last line was cut off
    process = Process(path, config, seed, checkpoint)
    run(process.train)
    return process


def trained_entries(process: Process) -> list[LedgerEntry]:
    """What was trained, by the ledger, in the order of slots."""
    with Ledger(process.ledger_path, PER_STEP) as ledger:
        return sorted((entry for entry in ledger.entries() if entry.outcome.is_trained), key=lambda entry: entry.slot)


def check_shares(entries: list[LedgerEntry]) -> None:
    """Invariant 1, counted anew from the ledger: after every step, no source is more than 1 from its share."""
    for step in range(1, STEPS + 1):
        counts = Counter(entry.source for entry in entries if entry.step is not None and entry.step <= step)
        assert counts.total() == step * PER_STEP
        for source, fraction in FRACTIONS.items():
            assert abs(counts[source] - fraction * counts.total()) <= 1, f"{source} after step {step}: {counts}"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("kills", [0, 1, 3])
def test_the_mix_holds_and_the_ledger_adds_up_whatever_fails_and_whenever_it_is_killed(tmp_path, seed, kills):
    process = finished(tmp_path, config_of(lag=seed % 4), kills, seed)
    entries = trained_entries(process)
    assert [entry.slot for entry in entries] == list(range(STEPS * PER_STEP))
    check_shares(entries)
    assert all(
        entry.min_policy_version is not None and entry.step - 1 - entry.min_policy_version <= seed % 4
        for entry in entries
    )
    outcomes = Counter(entry.outcome for entry in entries)
    assert outcomes[Outcome.TRAINED] > 80
    assert outcomes[Outcome.TRAINED_WITHOUT_SIGNAL] > 0


def test_a_run_that_was_killed_trains_what_it_would_have_trained_without(tmp_path):
    def trained(kills: int) -> list[tuple[int, int, str, Outcome, int | None]]:
        process = finished(tmp_path / str(kills), config_of(), kills, seed=3)
        return [(e.slot, e.attempt, e.prompt_id, e.outcome, e.step) for e in trained_entries(process)]

    assert trained(4) == trained(0)


@pytest.mark.parametrize("kills", [0, 2])
def test_a_mix_in_tokens_holds_and_adds_up_too(tmp_path, kills):
    process = finished(tmp_path, config_of("tokens"), kills, seed=1)  # check_mix is asked after each step
    entries = trained_entries(process)
    assert [entry.slot for entry in entries] == list(range(STEPS * PER_STEP))
    tokens = Counter()
    for entry in entries:
        tokens[entry.source] += entry.num_trained_tokens
    for source, fraction in FRACTIONS.items():
        assert tokens[source] / tokens.total() == pytest.approx(fraction, abs=0.05)


@pytest.mark.parametrize("kills", [0, 3])
def test_sampler_ledger_and_compute_tell_the_same(tmp_path, kills):
    process = finished(tmp_path, config_of(), kills, seed=2)
    summary = summarize(process.ledger_path, lambda entry: entry.source)
    metrics = process.sampler.metrics()
    for source in FRACTIONS:
        told = {
            name: metrics[f"{name}/{source}"] for name in ("trained_groups", "filtered", "failed", "distinct_prompts")
        }
        ours = summary[source]
        assert told == {
            "trained_groups": ours.num_trained,
            "filtered": ours.num_filtered,
            "failed": ours.num_failed,
            "distinct_prompts": ours.num_distinct_prompts,
        }
        assert ours.num_filtered > 0
        assert ours.num_failed > 0
    saved = ComputeLedger.load(tmp_path / "compute.json")
    assert (saved.optimizer_steps, saved.trained_groups) == (STEPS, STEPS * PER_STEP)
    assert saved.trained_tokens == sum(each.num_trained_tokens for each in summary.values())
    if not kills:
        assert saved.generated_tokens == sum(each.num_generated_tokens for each in summary.values())
        assert saved.judge_tokens == sum(each.num_judge_tokens for each in summary.values())


def test_every_group_is_on_disk_before_anything_is_dropped(tmp_path):
    process = finished(tmp_path, config_of(), kills=0, seed=5)
    kept = Counter()
    for path in sorted((tmp_path / "rollouts").glob("*.jsonl")):
        for record in read_lines(path):
            slot = record["group"]["slot"]
            assert path.name == f"step-{slot['index'] // PER_STEP + 1:05d}.jsonl"
            kept[slot["index"], slot["attempt"]] += 1
    with Ledger(process.ledger_path, PER_STEP) as ledger:
        generated = [(e.slot, e.attempt) for e in ledger.entries() if e.outcome.is_final and e.num_completions]
    assert kept == Counter(generated)


def test_figures_have_a_line_for_each_step_and_only_one_counts_after_a_resume(tmp_path):
    finished(tmp_path, config_of(), kills=3, seed=4)
    folder = RunFolder(tmp_path)
    assert [line["step"] for line in folder.read_metrics()] == list(range(1, STEPS + 1))
    folder.close()


class Bench:
    """A book alone, with two slots in a step."""

    def __init__(self, path: Path, wall_seconds: float = 0.0) -> None:
        process = Process(path, config_of(lag=1, groups_per_step=2))
        process.compute.wall_seconds = wall_seconds
        self.figures, self.words = process.figures, process.words
        self.ledger, self.compute = process.open_ledger(), process.compute
        self.book, self.sampler = process.make_book(self.ledger), process.sampler

    def train(self, step: int = 0, version: int = 0) -> dict[str, float]:
        groups = [self.group(index, version) for index in (2 * step, 2 * step + 1)]
        self.book.trained(groups, step_metrics(step + 1), {"step": 2.0})
        return self.figures[-1]

    def group(self, index: int, version: int = 0, rewards: tuple[float | None, ...] = (1.0, 0.0), attempt: int = 0):
        slot = self.book.draw(index, attempt)
        graded = group(index, version, rewards)
        return msgspec.structs.replace(graded, group=msgspec.structs.replace(graded.group, slot=slot))

    def outcomes(self) -> list[tuple[int, int, Outcome, str]]:
        return [(entry.slot, entry.attempt, entry.outcome, entry.reason) for entry in self.ledger.entries()]


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.ledger.close()


def test_every_end_of_an_attempt_has_its_name_in_the_ledger(bench):
    filtered = bench.group(0)
    bench.book.attempted(Attempt(slot=filtered.group.slot, graded=filtered, reason="zero variance", filtered=True))
    ungraded = bench.group(0, attempt=1)
    bench.book.attempted(Attempt(slot=ungraded.group.slot, graded=ungraded, reason="ungraded: timeout"))
    lost = bench.book.draw(0, 2)
    bench.book.attempted(Attempt(slot=lost, graded=None, reason="EngineDied: gone"))
    last, other = bench.group(0, attempt=3, rewards=(1.0, 1.0)), bench.group(1)
    bench.book.attempted(Attempt(slot=last.group.slot, graded=last, reason="", without_signal=True))
    bench.book.attempted(Attempt(slot=other.group.slot, graded=other, reason=""))
    bench.book.trained([last, other], step_metrics(1), {"step": 1.0})
    assert [entry for entry in bench.outcomes() if entry[2].is_final] == [
        (0, 0, Outcome.FILTERED, "zero variance"),
        (0, 1, Outcome.FAILED, "ungraded: timeout"),
        (0, 2, Outcome.FAILED, "EngineDied: gone"),
        (0, 3, Outcome.TRAINED_WITHOUT_SIGNAL, ""),
        (1, 0, Outcome.TRAINED, ""),
    ]
    bench.book.finish()


def test_a_slot_that_is_never_trained_is_found_at_the_end(bench):
    bench.train()
    bench.book.draw(2, 0)
    with pytest.raises(LedgerError, match="never heard of again: slot 2"):
        bench.book.finish()


def test_a_step_of_other_slots_than_its_own_is_refused(bench):
    groups = [bench.group(index) for index in (0, 2)]
    with pytest.raises(MixError, match=r"missing are \[1\]"):
        bench.book.trained(groups, step_metrics(1), {"step": 1.0})


def test_a_group_that_is_too_old_is_refused(bench):
    groups = [bench.group(index, version) for index, version in ((6, 3), (7, 2))]
    assert {sample.slot for sample in bench.book.samples(groups, step=3)} == {6, 7}
    with pytest.raises(StaleSample):
        bench.book.samples(groups, step=4)


def test_ungraded_completions_leave_the_loss_and_the_baseline(bench):
    samples = bench.book.samples([bench.group(0, rewards=(1.0, None, 0.0))], step=0)
    assert [sample.advantage for sample in samples] == pytest.approx([0.5**0.5, -(0.5**0.5)])


def test_the_cost_of_every_kept_group_is_counted(bench):
    verdicts = tuple(Verdict(status=VerdictStatus.MET, cached=cached) for cached in (False, True, False))
    graded = bench.group(0)
    grades = tuple(
        Grade(completion_id=grade.completion_id, reward=grade.reward, verdicts=verdicts, judge_tokens=11)
        for grade in graded.grades
    )
    bench.book.keep(msgspec.structs.replace(graded, grades=grades))
    compute = bench.compute
    assert (compute.generated_tokens, compute.prompt_tokens) == (4, 3)
    assert (compute.judge_tokens, compute.judge_calls) == (22, 4)
    assert compute.trained_tokens == 0


def test_figures_of_a_step(bench):
    bench.train(0, version=0)
    for index, rewards in ((2, (1.0, 0.0)), (3, (0.5, None)), (4, (None, None))):
        bench.book.keep(bench.group(index, version=1, rewards=rewards))
    bench.book.keep(bench.group(2, attempt=1, rewards=(1.0, 1.0)))  # a refill does not count towards the reward
    groups = [bench.group(index, version) for index, version in ((2, 0), (3, 1))]
    bench.book.trained(groups, step_metrics(2), {"step": 4.0, "generate and grade": 3.0})
    figures = bench.figures[-1]
    assert {figures[f"reward/{bench.sampler.slot(index).source}"] for index in (2, 3)} == {0.5}
    assert figures["policy_lag"] == 1.0
    assert figures["tokens_per_s"] == (4 + 4 + 4 + 4) / 4.0
    assert figures["seconds/generate_and_grade"] == 3.0
    assert figures["gradient_share/standard"] == 1.0
    assert (figures["step"], figures["loss"], figures["fleet/serving"]) == (2.0, 0.5, 1.0)
    assert figures["mix_deviation"] <= 1
    bench.book.keep(bench.group(4))
    assert bench.train(2, version=2)["tokens_per_s"] == 2.0, "each step's tokens are its own"


def test_a_source_that_stops_teaching_is_told_in_words(bench):
    silent = AttemptHealth(rewards=(1.0, 1.0), truncated=0.0, ungraded=0.0, zero_variance=True)
    for _ in range(20):
        bench.book.diagnosis.observe("sums", silent)
    bench.train()
    assert bench.words[0].startswith("sums has stopped teaching")
    bench.book.note("engine-0 is back")
    assert bench.words[1:] == ["engine-0 is back"]


def test_the_state_of_a_checkpoint_is_json_and_synced(bench, monkeypatch):
    synced = []
    monkeypatch.setattr(bench.ledger, "sync", lambda: synced.append(True))
    bench.train()
    state = bench.book.client_state()
    assert json.loads(json.dumps(state)) == state
    assert state["compute"]["trained_groups"] == 2
    assert synced == [True]


def test_wall_time_goes_on_where_the_last_process_stopped(tmp_path):
    bench = Bench(tmp_path, wall_seconds=1000.0)
    bench.train()
    bench.ledger.close()
    assert 1000.0 <= bench.compute.wall_seconds < 1010.0
