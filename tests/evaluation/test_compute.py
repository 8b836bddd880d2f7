import msgspec
import pytest

from evaluation.compute import ComputeLedger, compare, total

BASE = ComputeLedger(policy_parameters=10, judge_parameters=3, optimizer_steps=5, trained_groups=160,
                     trained_tokens=1000, generated_tokens=400, prompt_tokens=100, wall_seconds=60.0)  # fmt: skip


def spent(**changes) -> ComputeLedger:
    return msgspec.structs.replace(BASE, **changes)


def test_flops_by_hand() -> None:
    ledger = spent(judge_tokens=50)
    assert ledger.training_flops == 60_000  # 6 x 10 x 1000
    assert ledger.generation_flops == 10_000  # 2 x 10 x 500
    assert ledger.grading_flops == 300  # 2 x 3 x 50
    assert ledger.policy_flops == 70_000


def test_saved_and_loaded(tmp_path) -> None:
    path = tmp_path / "compute.json"
    BASE.save(path)
    assert ComputeLedger.load(path) == BASE
    assert msgspec.json.decode(path.read_bytes())["training_flops"] == 60_000
    path.write_text('{"optimizer_steps": "many"}')
    with pytest.raises(ValueError, match=r"compute\.json is not a compute ledger"):
        ComputeLedger.load(path)


def test_match_says_what_holds_and_what_does_not() -> None:
    match = compare(BASE, spent(trained_tokens=1040, generated_tokens=500, judge_tokens=9), tolerance=0.05)
    standing = {quantity.name: quantity.standing for quantity in match.quantities}
    assert standing == {
        "optimizer steps": "exact", "trained groups": "exact", "trained tokens": "within",
        "generated tokens": "beyond", "estimated FLOPs of the policy": "beyond", "judge tokens": "beyond",
    }  # fmt: skip
    assert not match.holds
    assert not match.policy_holds
    sentence = match.sentence()
    assert sentence.startswith("Compute is not matched")
    assert "The same in both: optimizer steps, trained groups; within 5%: trained tokens (+4.0%)" in sentence
    assert "generated tokens (+25.0%)" in sentence
    assert "judge tokens (0 against 9)" in sentence


def test_judging_alone_leaves_the_policy_matched() -> None:
    match = compare(BASE, spent(judge_tokens=9))
    assert (match.holds, match.policy_holds) == (False, True)
    assert match.sentence().startswith("The policy's compute is matched; the judge's is not.")


def test_the_same_run_matches_exactly_whatever_the_machine_did() -> None:
    match = compare(BASE, spent(wall_seconds=999.0, engine_starts=7), tolerance=0.0)
    assert match.holds
    assert match.sentence().startswith("Compute is matched. The same in both: optimizer steps")


def test_total_adds_up_but_not_the_models() -> None:
    both = total([BASE, spent(trained_tokens=500)])
    assert (both.policy_parameters, both.optimizer_steps, both.trained_tokens) == (10, 10, 1500)
    with pytest.raises(ValueError, match="one model"):
        total([BASE, spent(policy_parameters=11)])
