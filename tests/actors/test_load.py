import json
import pickle
from pathlib import Path

import pytest

from actors.checks import BOUNDS
from actors.config import Config
from actors.load import ConfigError, load_config

WORLD = "configs/worlds/coupled.toml"


def write(tmp_path: Path, text: str = "") -> str:
    path = tmp_path / "run.toml"
    path.write_text('name = "t"\nrollout = {sampling = {num_samples = 8}}\n' + text)
    return str(path)


def problems(tmp_path: Path, text: str = "", overrides=(), experiment=True) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text), overrides, experiment=experiment)
    return caught.value.problems


def test_values_of_the_file_and_defaults(tmp_path):
    config = load_config(write(tmp_path, "steps = 7\n[learner]\nlearning_rate = 1\n"))
    assert (config.steps, config.learner.learning_rate, config.groups_per_step) == (7, 1.0, 32)
    assert set(config.arms) >= {"baseline", "multi_domain"}


def test_an_arm_in_the_file_is_added_to_the_built_in_ones(tmp_path):
    config = load_config(write(tmp_path, '[arms.law_only]\ndata = "trait"\ndomains = ["law"]\n'))
    assert config.arms["law_only"].domains == ("law",)
    assert "helpfulness" in config.arms


def test_overrides_are_toml_or_plain_words(tmp_path):
    overrides = [
        "learner.learning_rate=1e-4",
        "arm=baseline",
        "experiment.seeds=[3, 4]",
        "sync.timeout_s = 9",
        "name='x y'",
    ]
    config = load_config(write(tmp_path), overrides)
    assert config.learner.learning_rate == 1e-4
    assert (config.arm, config.experiment.seeds, config.sync.timeout_s, config.name) == ("baseline", (3, 4), 9, "x y")


@pytest.mark.parametrize("override", ["steps", "=3", "learner..x=1"])
def test_a_malformed_override_says_how_it_should_look(tmp_path, override):
    with pytest.raises(ConfigError, match="is not of the form key=value"):
        load_config(write(tmp_path), [override])


def test_an_override_into_a_value_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="steps is a value, not a table"):
        load_config(write(tmp_path, "steps = 5\n"), ["steps.more=1"])


def test_a_misspelt_key_is_named_with_its_path_and_the_nearest_name(tmp_path):
    found = problems(tmp_path, "[learner]\nlerning_rate = 1e-4\n")
    assert found == ("learner.lerning_rate: there is no such key; did you mean learner.learning_rate?",)


def test_a_key_in_the_wrong_table_is_found_where_it_belongs(tmp_path):
    (found,) = problems(tmp_path, "learning_rate = 1e-4\n")
    assert "did you mean learner.learning_rate?" in found


def test_unknown_keys_inside_lists_and_arms_are_found(tmp_path):
    source = '[[mix.sources]]\nname = "a"\nfraction = 1.0\nintervention = true\nshare = 2\n'
    text = source + '[arms.x]\ndata = "trait"\ndomain = "law"\n'
    found = problems(tmp_path, text)
    assert any("mix.sources.0.share" in problem for problem in found)
    assert any("arms.x.domain: there is no such key; did you mean arms.x.domains?" in problem for problem in found)


def test_all_problems_are_reported_at_once(tmp_path):
    text = 'steps = "many"\nmax_policy_lag = -1\n[learner]\nnum_ranks = 1.5\nx = 1\n'
    found = problems(tmp_path, text)
    assert len(found) == 4
    assert any("steps: expected int, got str" in problem for problem in found)
    assert any("learner.num_ranks: expected int, got float" in problem for problem in found)
    assert any("max_policy_lag: must be at least 0, got -1" in problem for problem in found)


def test_a_file_without_a_name_says_so(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text("steps = 3\n")
    with pytest.raises(ConfigError, match="missing required field name"):
        load_config(str(path))


def test_a_missing_file_suggests_its_neighbour(tmp_path):
    write(tmp_path)
    with pytest.raises(ConfigError, match=r"did you mean .*run\.toml"):
        load_config(str(tmp_path / "rum.toml"))


def test_broken_toml_names_the_line(tmp_path):
    with pytest.raises(ConfigError, match="line 3"):
        load_config(write(tmp_path, "steps = = 3\n"))


def test_the_error_survives_pickling_and_counts(tmp_path):
    error = pickle.loads(pickle.dumps(ConfigError("a.toml", ("one", "two"))))  # noqa: S301
    assert str(error) == "a.toml: 2 problems\n  - one\n  - two"


SOURCE = '[[mix.sources]]\nname = "{}"\nfraction = {}\nintervention = {}\n'


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([("a", 0.5, "true"), ("b", 0.4, "false")], "they add up to 0.9"),
        ([("a", 1.5, "true"), ("b", -0.5, "false")], "fraction of 'a' must be between 0 and 1, got 1.5"),
        ([("a", 0.5, "false"), ("b", 0.5, "false")], "exactly one source must have intervention = true, got none"),
        ([("a", 0.5, "true"), ("b", 0.5, "true")], "got a, b"),
        ([("a", 0.5, "true"), ("a", 0.5, "false")], "each source needs a name of its own"),
        ([("a", 0.0, "true"), ("b", 1.0, "false")], "the intervention's fraction is 0"),
    ],
)
def test_the_mix(tmp_path, sources, message):
    found = problems(tmp_path, "".join(SOURCE.format(*source) for source in sources))
    assert any(message in problem for problem in found), found


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["arm=multidomain"], "did you mean 'multi_domain'?"),
        (["experiment.arms=['baseline', 'helpfulnes']"], "did you mean 'helpfulness'?"),
        (["experiment.arms=[]"], "experiment.arms: must not be empty"),
        (["experiment.seeds=[1, 1]"], "experiment.seeds: names one twice: 1, 1"),
        (["mix.unit=tokens"], 'set mix.unit = "groups"'),
        (["arms.x={data='standard', domains=['law']}"], 'data = "standard" has no domains'),
        (
            ["arms.x={data='trait', domains=['law'], exclude_domains=['law']}"],
            "is in domains and in exclude_",
        ),
        (["rollout.sampling.num_samples=1"], "at least 2 completions to compare, got 1"),
        (["rollout.sampling.max_tokens=4096"], "leave no room for a prompt in rollout.engine.max_model_len = 4096"),
        (["grading.max_tokens=5000"], "grading.max_tokens: 5000 new tokens"),
        (["sync.backend=nccl"], 'set sync.backend = "gloo"'),
        (["cluster.device=gpu"], "cluster.device: invalid enum value 'gpu'; must be 'cpu' or 'cuda'"),
        (["learner.zero_stage=4"], "learner.zero_stage: invalid enum value 4; must be 0 or 1 or 2 or 3"),
        (["cluster.device=cuda", "cluster.share_gpu=true"], "set grading.engine.sleep_mode = true"),
        (["cluster.share_gpu=true"], "there is no GPU to share"),
        (["rollout.engine.tensor_parallel_size=2"], "must be 1 with cluster.device"),
        (["rollout.engine.gpu_memory_utilization=1.2"], "at most 1, got 1.2"),
        (["learner.attention=flash_attention_2"], 'set learner.attention = "sdpa"'),
        (["learner.offload_optimizer=true"], "needs learner.zero_stage 1, 2 or 3"),
        (["data.world=configs/worlds/none.toml"], "there is no file configs/worlds/none.toml"),
        (["data.kind=jsonl"], "needs a JSONL file of prompts here"),
        (["data.kind=jsonl", "data.standard=x.jsonl", "data.trait=y.jsonl"], "data.trait: there is no file y.jsonl"),
        (["grading.template=nonesuch"], "grading.template: no judge template 'nonesuch'"),
        (["name=a/b"], "one folder name without slashes"),
        (["name=.."], "one folder name without slashes"),
    ],
)
def test_cross_checks_say_what_to_do(tmp_path, overrides, message):
    found = problems(tmp_path, overrides=overrides)
    assert any(message in problem for problem in found), found


def test_checks_of_an_experiment_do_not_stop_a_single_run(tmp_path):
    assert load_config(write(tmp_path), ["mix.unit=tokens"], experiment=False).mix.unit == "tokens"


def test_nccl_cannot_share_one_card(tmp_path):
    overrides = ["cluster.device=cuda", "cluster.share_gpu=true", "sync.backend=nccl"]
    assert any(
        "NCCL cannot join two processes on one GPU" in problem for problem in problems(tmp_path, overrides=overrides)
    )


@pytest.mark.parametrize("dotted", BOUNDS)
def test_every_bound_is_enforced_and_holds_for_the_defaults(tmp_path, dotted):
    low, high = BOUNDS[dotted]
    value: object = Config(name="x")
    for key in dotted.split("."):
        value = getattr(value, key)
    assert isinstance(value, (int, float))
    assert low <= value <= high
    below = low - 1 if isinstance(value, int) else low - 0.5
    found = problems(tmp_path, overrides=[f"{dotted}={below}"])
    assert any(problem.startswith(f"{dotted}: must be ") for problem in found)


def model_folder(tmp_path: Path, content: str | None) -> str:
    folder = tmp_path / "model"
    folder.mkdir()
    if content is not None:
        (folder / "config.json").write_text(content)
    return str(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "has no config.json"),
        ("{}", "is not a causal language model (its config.json names no architecture)"),
        ('{"architectures": ["BertModel"]}', "names BertModel"),
        ("{", "config.json is not JSON"),
    ],
)
def test_a_folder_that_is_no_causal_model_is_refused(tmp_path, content, message):
    found = problems(tmp_path, overrides=[f"model={model_folder(tmp_path, content)}"])
    assert any(message in problem for problem in found)


def test_a_causal_model_and_a_hub_id_pass_and_a_missing_folder_does_not(tmp_path):
    folder = model_folder(tmp_path, json.dumps({"architectures": ["Qwen2ForCausalLM"]}))
    assert load_config(write(tmp_path), [f"model={folder}", "grading.model=Qwen/Qwen3-4B"]).model == folder
    assert any("there is no folder" in problem for problem in problems(tmp_path, overrides=["model=./nowhere"]))
