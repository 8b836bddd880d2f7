"""The real learner on one and two CPU ranks."""

import pytest
import torch
from safetensors.torch import load_file

from learner.checkpoint import load_manifest
from tests.support.learner_process import run_learner
from tests.support.tiny_model import make_tiny_model

pytestmark = pytest.mark.slow

FLOAT32 = {"dtype": "float32", "learning_rate": 1e-3, "attention": "eager", "micro_batch_tokens": 100}
PROBE = [5, 17, 60, 200, 3, 44]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_tiny_model(
        tmp_path_factory.mktemp("model"), hidden_size=64, num_layers=2, dtype=torch.float32, initializer_range=0.05
    )


@pytest.fixture(scope="module")
def one_rank(model, tmp_path_factory):
    """Weights after two steps of one rank without ZeRO, and the steps' metrics."""
    folder = tmp_path_factory.mktemp("one_rank")
    actions = [["train", 2], ["dump", str(folder / "weights")], ["logprobs", PROBE]]
    outcome = run_learner(folder, model, FLOAT32, actions)
    return outcome.results, load_file(folder / "weights")


def largest_difference(first, second):
    assert first.keys() == second.keys()
    return max((first[name] - second[name]).abs().max().item() for name in first)


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_two_ranks_equal_one_and_resuming_changes_nothing(stage, model, one_rank, tmp_path):
    config = FLOAT32 | {"zero_stage": stage}
    here = {name: str(tmp_path / name) for name in ("after_two", "after_three", "resumed", "step-000002")}
    first = run_learner(
        tmp_path / "first",
        model,
        config,
        [
            ["train", 2],
            ["dump", here["after_two"]],
            ["logprobs", PROBE],
            ["save", here["step-000002"]],
            ["train", 1],
            ["dump", here["after_three"]],
        ],
        ranks=2,
    )
    expected, weights = one_rank
    # Adam's step is the learning rate in size, whatever the gradient's: rounding shows up at a fraction of it
    assert largest_difference(load_file(here["after_two"]), weights) < 5e-5
    for ours, theirs in zip(first.results[0], expected[0], strict=True):
        for name in ("loss", "grad_norm", "entropy", "mismatch_kl", "mismatch_max", "clip_share"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-3, abs=1e-5), name
    assert first.results[2] == pytest.approx(expected[2], abs=1e-3)

    second = run_learner(
        tmp_path / "second",
        model,
        config,
        [["load", here["step-000002"]], ["train", 1], ["dump", here["resumed"]]],
        ranks=2,
    )
    assert second.results[0] == {"slot": 96}
    assert second.results[1][0]["step"] == 3
    assert largest_difference(load_file(here["resumed"]), load_file(here["after_three"])) == 0.0


def test_partitioned_weights_are_loaded_whole_every_time(model, tmp_path):
    """DeepSpeed's coalesced gather does not wait for all of its transfers on gloo; see learner/compat.py."""
    config = FLOAT32 | {"zero_stage": 3}
    assert run_learner(tmp_path, model, config, [["reload", str(model), 30]], ranks=2).results == [[]]


def test_saved_weights_are_the_learners(model, one_rank, tmp_path):
    """What transformers reads back from a checkpoint gives the log-probabilities in its manifest."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = tmp_path / "step-000001"
    outcome = run_learner(tmp_path / "run", model, FLOAT32, [["train", 1], ["save", str(path), False, PROBE]])
    manifest = load_manifest(path)
    assert (manifest.step, manifest.run, manifest.arm) == (1, "r", "a")
    assert outcome.results[1]["weights_hash"] == manifest.weights_hash
    assert not (path / "state").exists()
    logits = AutoModelForCausalLM.from_pretrained(path / "weights")(torch.tensor([PROBE])).logits[0, :-1]
    expected = torch.log_softmax(logits, dim=-1).gather(-1, torch.tensor(PROBE[1:])[:, None])[:, 0]
    assert manifest.probe_logprobs == pytest.approx(expected.tolist(), abs=1e-4)
    assert AutoTokenizer.from_pretrained(path / "weights").chat_template


@pytest.mark.parametrize("stage", [0, 2])
def test_bfloat16_learns_and_resumes(stage, model, tmp_path):
    config = FLOAT32 | {"dtype": "bfloat16", "zero_stage": stage, "warmup_steps": 4}
    path, kept, resumed = (str(tmp_path / name) for name in ("step-000012", "kept", "resumed"))
    first = run_learner(
        tmp_path / "first", model, config, [["train", 12], ["save", path], ["train", 1], ["dump", kept]]
    )
    metrics = first.results[0]
    assert metrics[-1]["loss"] < metrics[0]["loss"] - 0.5
    assert [one["learning_rate"] for one in metrics[:5]] == pytest.approx([2.5e-4, 5e-4, 7.5e-4, 1e-3, 1e-3])
    assert all(one["grad_norm"] > 0 for one in metrics)
    run_learner(tmp_path / "second", model, config, [["load", path], ["train", 1], ["dump", resumed]])
    assert largest_difference(load_file(kept), load_file(resumed)) == 0.0


def test_temperature_divides_the_logits(model, tmp_path):
    """At a very high temperature the policy is uniform, so its entropy is the logarithm of the vocabulary."""
    outcome = run_learner(tmp_path, model, FLOAT32, [["train", 1, 12, 1e6]])
    assert outcome.results[0][0]["entropy"] == pytest.approx(5.768321, abs=1e-4)  # ln 320


@pytest.mark.parametrize("stage", [0, 3])
def test_adapters_are_merged_in_what_is_sent_and_saved(stage, model, tmp_path):
    config = FLOAT32 | {"lora_rank": 4, "zero_stage": stage, "gradient_checkpointing": True}
    path, merged = tmp_path / "step-000003", tmp_path / "merged"
    actions = [["train", 3], ["dump", str(merged)], ["save", str(path), True, PROBE]]
    run_learner(tmp_path / "run", model, config, actions, ranks=2 if stage else 1)
    base, sent, saved = (
        load_file(file) for file in (model / "model.safetensors", merged, path / "weights" / "model.safetensors")
    )
    assert largest_difference(sent, saved) == 0.0
    changed = {name for name in base if not torch.equal(base[name], sent[name])}
    assert changed == {name for name in base if "proj.weight" in name}


def test_a_reference_policy_adds_its_divergence(model, tmp_path):
    config = FLOAT32 | {"kl_coefficient": 0.1}
    metrics = run_learner(tmp_path, model, config, [["train", 3]]).results[0]
    assert metrics[0]["reference_kl"] == pytest.approx(0.0, abs=1e-6)
    assert metrics[2]["reference_kl"] > 1e-4


def test_more_ranks_than_samples_still_match(model, tmp_path):
    one = run_learner(tmp_path / "one", model, FLOAT32, [["train", 1, 1]]).results[0][0]
    two = run_learner(tmp_path / "two", model, FLOAT32 | {"zero_stage": 3}, [["train", 1, 1]], ranks=2).results[0][0]
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
    assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-3)


def test_a_spoiled_policy_stops_before_anything_is_saved(model, tmp_path):
    path = tmp_path / "step-000001"
    actions = [["train", 1], ["spoil"], ["raises", "train", 1], ["raises", "save", str(path)]]
    results = run_learner(tmp_path / "run", model, FLOAT32, actions).results
    assert results[2][0] == results[3][0] == "NonFiniteLoss"
    assert "optimizer step 2" in results[2][1]
    assert not list(tmp_path.glob("*step-000001*"))


def test_a_learner_of_another_shape_does_not_resume(model, tmp_path):
    path = str(tmp_path / "step-000000")
    run_learner(tmp_path / "first", model, FLOAT32, [["save", path]])
    other = FLOAT32 | {"zero_stage": 2}
    results = run_learner(tmp_path / "second", model, other, [["raises", "load", path]]).results
    assert results[0][0] == "ValueError"
    assert "(1, 0, 'float32', 0), this learner has (1, 2, 'float32', 0)" in results[0][1]
