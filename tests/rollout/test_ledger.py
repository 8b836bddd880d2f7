import pickle

import pytest

from rollout.ledger import Ledger, LedgerError, Outcome, dispatched_entry, failed_entry, graded_entry, summarize
from rollout.types import Slot
from tests.rollout.worlds import graded, standard_prompts, trait_prompts

STANDARD, TRAIT = standard_prompts(40), trait_prompts(10)
STEP = 2


def slot_of(index: int, attempt: int = 0) -> Slot:
    """Every fifth slot is of the intervention."""
    if index % 5 == 4:
        return Slot(index=index, source="intervention", attempt=attempt, prompt=TRAIT[(index + attempt) % 10])
    return Slot(index=index, source="standard", attempt=attempt, prompt=STANDARD[(index + attempt) % 40])


def write(ledger: Ledger, index: int, attempt: int, outcome: Outcome) -> None:
    slot = slot_of(index, attempt)
    ledger.append(dispatched_entry(slot))
    if outcome is Outcome.FAILED:
        ledger.append(failed_entry(slot, "engine died"))
    elif outcome.is_final:
        rewards = (1.0, 0.0) if outcome is Outcome.TRAINED else (1.0, 1.0)
        ledger.append(graded_entry(graded(slot, rewards), outcome, index // STEP + 1 if outcome.is_trained else None))


OPEN: list[Ledger] = []


@pytest.fixture(autouse=True)
def _close_ledgers():
    yield
    while OPEN:
        OPEN.pop().close()


def new_ledger(tmp_path, *slots: int) -> Ledger:
    ledger = Ledger.create(tmp_path / "ledger.jsonl", STEP)
    OPEN.append(ledger)
    for index in slots:
        write(ledger, index, 0, Outcome.TRAINED)
    return ledger


def test_predicates():
    assert [outcome for outcome in Outcome if outcome.is_trained] == ["trained", "trained_without_signal"]
    assert [outcome for outcome in Outcome if outcome.needs_refill] == ["filtered", "failed"]
    assert [outcome for outcome in Outcome if not outcome.is_final] == ["dispatched"]


def test_an_entry_says_what_the_group_and_its_grades_say():
    entry = graded_entry(graded(slot_of(4, 1), (1.0, None, 0.0), prompt_tokens=3), Outcome.TRAINED, step=3)
    assert (entry.slot, entry.attempt, entry.source, entry.trait) == (4, 1, "intervention", "truthfulness")
    assert (entry.domain, entry.prompt_id, entry.engine) == (TRAIT[5].domain, "trait-5", "engine-0")
    assert (entry.min_policy_version, entry.max_policy_version) == (4, 6)
    assert entry.num_generated_tokens == 2 + 3 + 4
    assert entry.num_trained_tokens == (3 + 2) + (3 + 4)  # the ungraded completion does not reach the loss
    assert (entry.num_judge_tokens, entry.num_ungraded, entry.num_truncated) == (30, 1, 1)
    assert (entry.reward_mean, entry.reward_std, entry.zero_variance) == (0.5, 0.5, False)


def test_a_filtered_entry_trained_nothing_and_an_ungraded_one_has_no_reward():
    filtered = graded_entry(graded(slot_of(0), (1.0, 1.0)), Outcome.FILTERED)
    assert (filtered.num_trained_tokens, filtered.zero_variance, filtered.num_generated_tokens) == (0, True, 5)
    ungraded = graded_entry(graded(slot_of(0), (None, None)), Outcome.FAILED, reason="all ungraded")
    assert (ungraded.reward_mean, ungraded.reward_std, ungraded.zero_variance) == (None, None, False)


@pytest.mark.parametrize(("outcome", "step"), [(Outcome.TRAINED, None), (Outcome.FILTERED, 3)])
def test_a_step_belongs_to_trained_attempts(outcome, step):
    with pytest.raises(ValueError, match="give the step of trained attempts, and of no others"):
        graded_entry(graded(slot_of(0)), outcome, step)


def test_a_ledger_that_adds_up(tmp_path):
    ledger = new_ledger(tmp_path, 0, 1, 2)
    write(ledger, 3, 0, Outcome.FILTERED)
    write(ledger, 3, 1, Outcome.FAILED)
    write(ledger, 3, 2, Outcome.TRAINED_WITHOUT_SIGNAL)
    audit = ledger.audit(steps=2)
    assert (audit.num_slots, audit.num_attempts, audit.num_superseded) == (4, 6, 0)
    assert audit.outcomes == {
        Outcome.TRAINED: 3,
        Outcome.FILTERED: 1,
        Outcome.FAILED: 1,
        Outcome.TRAINED_WITHOUT_SIGNAL: 1,
    }


def trained_twice(ledger):
    write(ledger, 1, 1, Outcome.TRAINED)


def two_ends(ledger):
    ledger.append(failed_entry(slot_of(1), "late"))


def under_way(ledger):
    write(ledger, 4, 0, Outcome.DISPATCHED)


def without_dispatch(ledger):
    ledger.append(failed_entry(slot_of(4), "timeout"))


def skipped_attempt(ledger):
    write(ledger, 4, 1, Outcome.FAILED)


def too_far(ledger):
    write(ledger, 4, 0, Outcome.TRAINED)


def wrong_step(ledger):
    ledger.append(dispatched_entry(slot_of(4)))
    ledger.append(graded_entry(graded(slot_of(4)), Outcome.TRAINED, 9))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (trained_twice, "trained more than once: slot 1"),
        (two_ends, "an attempt with two ends: slot 1"),
        (under_way, "dispatched and never heard of again: slot 4"),
        (without_dispatch, "ended without being dispatched: slot 4"),
        (skipped_attempt, "attempts out of order: slot 4"),
        (too_far, "trained beyond the last slot, 3,: slot 4"),
        (wrong_step, "trained in another step: slot 4"),
    ],
)
def test_invariant_6_the_audit_finds_each_way_of_not_adding_up(tmp_path, damage, problem):
    ledger = new_ledger(tmp_path, 0, 1, 2, 3)
    ledger.audit(steps=2)
    damage(ledger)
    with pytest.raises(LedgerError) as caught:
        ledger.audit(steps=2)
    assert problem in caught.value.problems


def test_the_audit_names_slots_never_trained_and_stays_short(tmp_path):
    ledger = new_ledger(tmp_path, 0, 2)
    with pytest.raises(LedgerError, match=r"never trained: slots 1, 3, 4, .*, 11 and 88 more") as caught:
        ledger.audit(steps=50)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - made just here


def test_a_resume_supersedes_what_came_after_the_checkpoint(tmp_path):
    ledger = new_ledger(tmp_path, 0, 1, 2)  # killed in step 2, resumed from step 1
    write(ledger, 3, 0, Outcome.FILTERED)
    write(ledger, 3, 1, Outcome.DISPATCHED)
    ledger.close()
    before = ledger.path.read_bytes()
    resumed = Ledger.reopen(ledger.path, STEP, trained_steps=1)
    OPEN.append(resumed)
    assert ledger.path.read_bytes().startswith(before)
    assert {entry.slot for entry in resumed.entries()} == {0, 1}
    write(resumed, 2, 0, Outcome.TRAINED)
    write(resumed, 3, 0, Outcome.TRAINED)
    audit = resumed.audit(steps=2)
    assert (audit.num_slots, audit.num_attempts, audit.num_superseded) == (4, 4, 3)


def test_kill_at_any_byte_and_resume_still_adds_up(tmp_path):
    ledger = new_ledger(tmp_path, 0, 1, 2, 3)
    ledger.close()
    whole = ledger.path.read_bytes()
    steps_at = [0, len(b"".join(whole.splitlines(keepends=True)[:4]))]
    for cut in [*range(0, len(whole), 97), steps_at[1], steps_at[1] - 1, steps_at[1] + 1, len(whole) - 1]:
        ledger.path.write_bytes(whole[:cut])
        done = int(cut >= steps_at[1])
        with Ledger.reopen(ledger.path, STEP, trained_steps=done) as resumed:
            for index in range(done * STEP, 4):
                write(resumed, index, 0, Outcome.TRAINED)
            assert resumed.audit(steps=2).num_slots == 4


def test_killed_twice_the_second_time_while_resuming(tmp_path):
    ledger = new_ledger(tmp_path, 0, 1, 2)
    ledger.close()
    torn = ledger.path.read_bytes()[:-20]
    for second_cut in (torn + b"\n", torn + b'\n{"line":"supers'):
        ledger.path.write_bytes(second_cut)
        Ledger.reopen(ledger.path, STEP, trained_steps=1).close()
        with Ledger.reopen(ledger.path, STEP, trained_steps=1) as resumed:
            write(resumed, 2, 0, Outcome.TRAINED)
            write(resumed, 3, 0, Outcome.TRAINED)
            assert resumed.audit(steps=2).num_slots == 4


def test_damage_that_no_kill_explains_is_refused(tmp_path):
    ledger = new_ledger(tmp_path, 0, 1, 2, 3)
    ledger.close()
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2][:30] + b"\n"
    ledger.path.write_bytes(b"".join(lines))
    with pytest.raises(LedgerError, match="line 3 is damaged, and no run was resumed after it"):
        Ledger.reopen(ledger.path, STEP, trained_steps=2)


def test_a_resume_from_steps_that_the_ledger_does_not_hold_is_refused(tmp_path):
    new_ledger(tmp_path, 0, 1).close()
    with pytest.raises(LedgerError, match="never trained: slots 2, 3"):
        Ledger.reopen(tmp_path / "ledger.jsonl", STEP, trained_steps=2)
    with pytest.raises(LedgerError, match="never trained: slots 0, 1"):
        Ledger.reopen(tmp_path / "lost.jsonl", STEP, trained_steps=1)


def test_a_run_killed_before_its_first_checkpoint_starts_over(tmp_path):
    new_ledger(tmp_path, 0, 1).close()
    with Ledger.reopen(tmp_path / "ledger.jsonl", STEP, trained_steps=0) as ledger:
        assert list(ledger.entries()) == []
        assert ledger.audit(steps=0).num_superseded == 2


def test_a_new_run_does_not_write_into_an_old_ledger(tmp_path):
    new_ledger(tmp_path).close()
    with pytest.raises(ValueError, match="resume that run, or choose another name"):
        Ledger.create(tmp_path / "ledger.jsonl", STEP)


def test_summary_by_source_leaves_out_what_was_superseded(tmp_path):
    ledger = new_ledger(tmp_path, 0, 1)
    write(ledger, 2, 0, Outcome.TRAINED)
    ledger.close()
    with Ledger.reopen(ledger.path, STEP, trained_steps=1) as resumed:
        write(resumed, 2, 0, Outcome.FILTERED)
        write(resumed, 2, 1, Outcome.TRAINED)
        write(resumed, 3, 0, Outcome.TRAINED)
        write(resumed, 4, 0, Outcome.FAILED)
        write(resumed, 4, 1, Outcome.TRAINED_WITHOUT_SIGNAL)
    summaries = summarize(ledger.path, lambda entry: entry.source)
    standard, intervention = summaries["standard"], summaries["intervention"]
    assert (standard.num_attempts, standard.num_trained, standard.num_filtered) == (5, 4, 1)
    assert standard.num_distinct_prompts == 3  # slots 2 (attempt 1) and 3 (attempt 0) have one prompt
    assert (standard.num_generated_tokens, standard.num_trained_tokens) == (5 * 5, 4 * 11)
    assert (standard.reward_mean, standard.num_truncated, standard.num_judge_tokens) == (0.5, 5, 100)
    assert (intervention.num_failed, intervention.num_without_signal, intervention.reward_mean) == (1, 1, 1.0)
    assert set(summarize(ledger.path, lambda entry: entry.trait)) == {"", "truthfulness"}
