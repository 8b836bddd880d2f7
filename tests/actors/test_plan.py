import io
from pathlib import Path

import pytest
from rich.console import Console

from actors.config import Config
from actors.data import RunData
from actors.load import load_config
from actors.memory import GIB, engine_memory, learner_memory, lora_parameters, shape_of
from actors.plan import make_plan, print_plan, token_totals
from actors.plan_data import TraitRow, arm_rows, data_warnings
from grading.types import Check, Criterion
from learner.config import LearnerConfig
from rollout.config import EngineConfig, RolloutConfig
from rollout.types import Message, Prompt, SamplingConfig

CONFIGS = sorted(str(path) for path in Path("configs").glob("*.toml"))


def prompt(name: str, trait: str = "") -> Prompt:
    rubric = (Criterion(text="x", points=1.0), Criterion(text="y", points=-1.0))
    return Prompt(
        prompt_id=name,
        family=name,
        messages=(Message(role="user", content="?"),),
        trait=trait,
        domain="health" if trait else "",
        criteria=rubric if trait else (),
        check=None if trait else Check(kind="exact", expected="a"),
    )


DATA = RunData(
    standard=tuple(prompt(f"s{i}") for i in range(50)),
    trait=tuple(prompt(f"t{i}", trait="fairness" if i % 2 else "truthfulness") for i in range(4)),
    evaluations=(),
)


def test_groups_prompts_completions_and_verdicts_of_an_arm_by_hand():
    # 10 steps of 10 groups, 5% intervention: 5 trait groups; 4 trait prompts, 2 criteria, 8 samples.
    config = Config(name="x", steps=10, groups_per_step=10, rollout=RolloutConfig(sampling=sampling(8)))
    rows = arm_rows(config, "multi_domain", DATA)
    trait = [row for row in rows if row.trait]
    assert sum(row.num_groups for row in trait) == 5
    assert sum(row.num_prompts for row in trait) == 4
    assert sum(row.num_completions for row in trait) == 40
    assert sum(row.num_verdicts for row in trait) == 80
    (standard,) = [row for row in rows if not row.trait]
    assert (standard.num_groups, standard.num_prompts, standard.num_verdicts) == (95, 50, 0)


def sampling(num_samples: int) -> SamplingConfig:
    return SamplingConfig(num_samples=num_samples, max_tokens=100)


def test_the_baseline_arm_trains_no_trait():
    rows = arm_rows(Config(name="x", steps=2), "baseline", DATA)
    assert {row.trait for row in rows} == {""}
    assert sum(row.num_groups for row in rows) == 64


def row(groups: int, prompts: int, completions: int, arm: str = "multi_domain") -> TraitRow:
    return TraitRow(
        arm=arm,
        source="intervention",
        trait="fairness",
        num_prompts=prompts,
        num_groups=groups,
        num_completions=completions,
        num_verdicts=0,
    )


def test_the_failed_attempt_would_have_been_warned():
    warnings = data_warnings(Config(name="x"), ["multi_domain"], [row(30, 20, 240)])
    assert any("only 20 distinct trait prompts" in warning for warning in warnings)
    assert any("only 240 trait completions" in warning for warning in warnings)


def test_enough_data_gives_no_warning_and_thin_traits_and_repeats_do():
    assert data_warnings(Config(name="x"), ["multi_domain"], [row(200, 100, 1600)]) == []
    (thin,) = data_warnings(Config(name="x"), ["multi_domain"], [row(200, 100, 1600), row(4, 4, 32)])
    assert "fewer than 5 groups each of fairness" in thin
    (repeated,) = data_warnings(Config(name="x"), ["multi_domain"], [row(2001, 100, 16_008)])
    assert "100 prompts of source intervention is trained 20 times" in repeated


def test_arms_with_the_same_trouble_share_a_sentence():
    rows = [row(200, 99, 1600), row(200, 99, 1600, arm="helpfulness")]
    (warning,) = data_warnings(Config(name="x"), ["multi_domain", "helpfulness"], rows)
    assert warning.startswith("multi_domain, helpfulness: only 99 distinct")


def test_token_totals_by_hand():
    rollout = RolloutConfig(sampling=sampling(2), engine=EngineConfig(max_model_len=150))
    totals = token_totals(Config(name="x", steps=3, groups_per_step=5, rollout=rollout))
    assert (totals.num_completions, totals.generated, totals.trained) == (30, 3000, 4500)


MODEL = """{"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
"intermediate_size": 16, "vocab_size": 100, "tie_word_embeddings": false}"""


@pytest.fixture
def shape(tmp_path):
    (tmp_path / "config.json").write_text(MODEL)
    found = shape_of(str(tmp_path))
    assert found is not None
    return found


def test_parameters_are_counted_from_the_shape(shape):
    # Embeddings 2 x 800; a layer: attention 8 x 4 x (4 + 2) = 192, MLP 3 x 8 x 16 = 384, norms 16; last norm 8.
    assert shape.num_parameters == 1600 + 2 * (192 + 384 + 16) + 8
    # A layer's adapters of rank 2: q and o 16 each, k and v 12 each, three MLP sides of 24, all times 2.
    assert lora_parameters(shape, 2) == 2 * 2 * (16 + 16 + 12 + 12 + 72)


def sizes(lines) -> dict[str, float]:
    return {line.part: line.gib * GIB for line in lines}


def test_zero_stages_divide_what_they_should(shape):
    n = shape.num_parameters
    whole = sizes(learner_memory(shape, LearnerConfig(num_ranks=4, zero_stage=0)))
    assert (whole["weights"], whole["gradients"], whole["optimizer"]) == (2 * n, 2 * n, 12 * n)
    second = sizes(learner_memory(shape, LearnerConfig(num_ranks=4, zero_stage=2)))
    assert (second["weights"], second["gradients"], second["optimizer"]) == (2 * n, n / 2, 3 * n)
    third = sizes(learner_memory(shape, LearnerConfig(num_ranks=4, zero_stage=3, kl_coefficient=0.1)))
    assert (third["weights"], third["reference"]) == (n / 2, n / 2)


def test_lora_trains_its_adapters_only(shape):
    lines = sizes(learner_memory(shape, LearnerConfig(lora_rank=2)))
    assert (lines["weights"], lines["optimizer"]) == (2 * shape.num_parameters, 12 * 512)


def test_activations_with_and_without_checkpointing(shape):
    tokens, logits, layer = 10, 10 * 100, 34 * 8
    plain = sizes(learner_memory(shape, LearnerConfig(micro_batch_tokens=tokens)))
    assert plain["activations and logits"] == tokens * (2 * layer + logits)
    saving = sizes(learner_memory(shape, LearnerConfig(micro_batch_tokens=tokens, gradient_checkpointing=True)))
    assert saving["activations and logits"] == tokens * (2 * 8 * 2 + layer + logits)


def test_the_cache_of_an_engine(shape):
    lines = engine_memory("engine", shape, EngineConfig(max_model_len=10, tensor_parallel_size=2))
    # Two layers, one key-value head of 4, key and value, 2 bytes: 32 a token, half of it on each GPU.
    assert [round(line.gib * GIB, 6) for line in lines] == [shape.num_parameters, 160]


def test_the_size_in_a_name_and_names_without():
    shape = shape_of("some/Model-1.7B-Instruct")
    assert shape is not None
    assert shape.num_parameters == 1.7e9
    assert shape_of("some/model") is None
    assert shape_of("miniature") is None


@pytest.mark.parametrize("path", CONFIGS)
def test_every_shipped_configuration_loads_and_has_a_plan(path):
    config = load_config(path)
    if config.data.kind == "jsonl":  # fewer slots to count: milliseconds, not seconds
        config = load_config(path, ["steps=20"])
    plan = make_plan(config, experiment=True)
    assert len(plan.runs) == len(config.experiment.arms) * len(config.experiment.seeds)
    assert sum(row.num_groups for row in plan.rows if row.arm == "baseline") == config.steps * config.groups_per_step
    if config.data.kind == "jsonl":
        assert any("distinct trait prompts" in warning for warning in plan.warnings)
    else:
        assert not any("completions are trained" in warning for warning in plan.warnings)


def test_the_plan_prints_what_matters(tmp_path):
    config = load_config("configs/qwen3_8gpu.toml", ["steps=20", "evaluation.names=['nonesuch']"])
    output = io.StringIO()
    print_plan(make_plan(config, experiment=True), Console(width=140, file=output))
    text = output.getvalue()
    for words in ("baseline, seed 0; multi_domain", "10,240 completions", "truthfulness", "WARNING", "nonesuch"):
        assert words in text
    # Four learner ranks, two rollout engines, a judge and an evaluator: eight GPUs.
    assert any(
        line.split()[1:2] == ["together"] and "16" in line and line.split()[-2] == "8" for line in text.splitlines()
    )


def test_several_gpus_of_an_engine_are_counted():
    plan = make_plan(load_config("configs/qwen3_cluster.toml", ["steps=1"]), experiment=True)
    assert sum(bundle.gpus for bundle in plan.bundles) == 32 + 8 * 4 + 4 * 2 + 2 * 4
