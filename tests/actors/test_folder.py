import json
import subprocess

import msgspec
import pytest

from actors.config import ClusterConfig, Config, ExperimentConfig
from actors.folder import (
    FolderError,
    JsonLines,
    RunFolder,
    changed_keys,
    environment,
    git_state,
    read_lines,
    run_path,
)
from grading.types import Check, Grade
from learner.config import LearnerConfig
from rollout.types import Completion, GradedGroup, Message, Prompt, RolloutGroup, Slot


@pytest.fixture
def config(tmp_path):
    return Config(name="exp", output_dir=str(tmp_path), arm="baseline", seed=3)


def graded(index: int) -> GradedGroup:
    prompt = Prompt(
        prompt_id="p",
        family="p",
        messages=(Message(role="user", content="?"),),
        check=Check(kind="exact", expected="a"),
    )
    completion = Completion(
        completion_id=f"{index}.0.0",
        text="a",
        token_ids=(1,),
        logprobs=(-0.5,),
        finish_reason="stop",
        min_policy_version=0,
        max_policy_version=0,
    )
    group = RolloutGroup(
        slot=Slot(index=index, source="standard", attempt=0, prompt=prompt),
        prompt_token_ids=(0,),
        completions=(completion,),
        engine="e",
    )
    return GradedGroup(group=group, grades=(Grade(completion_id=f"{index}.0.0", reward=1.0),))


def test_a_new_folder_holds_the_resolved_configuration_and_the_environment(config, tmp_path):
    folder = RunFolder.create(config)
    assert folder.path == tmp_path / "exp" / "baseline-seed3"
    assert msgspec.json.decode((folder.path / "config.json").read_bytes(), type=Config) == config
    assert {"python", "packages", "git", "num_cpus"} <= json.loads(
        (folder.path / "environment.json").read_text()
    ).keys()


def test_every_line_is_on_disk_before_the_next_is_written(config):
    folder = RunFolder.create(config)
    folder.append_metrics(1, {"loss": 0.5})
    (record,) = read_lines(folder.path / "metrics.jsonl")
    assert (record["step"], record["loss"]) == (1, 0.5)
    assert record["time"] > 1e9
    folder.append_rollout(1, graded(0))
    folder.append_rollout(1, graded(1))
    folder.append_rollout(2, graded(2))
    folder.append_rollout(1, graded(3))
    lines = (folder.path / "rollouts" / "step-00001.jsonl").read_bytes().splitlines()
    groups = [msgspec.json.decode(line, type=GradedGroup) for line in lines]
    assert [group.group.slot.index for group in groups] == [0, 1, 3]
    assert groups[0] == graded(0)
    folder.close()


def test_a_run_is_never_overwritten(config):
    RunFolder.create(config).close()
    with pytest.raises(FolderError, match="continue it with --resume"):
        RunFolder.create(config)


def test_resume_keeps_what_is_there_and_the_later_line_of_a_step_counts(config):
    first = RunFolder.create(config)
    for step, loss in ((1, 0.1), (2, 0.2), (3, 0.3)):
        first.append_metrics(step, {"loss": loss})
    first.close()
    again = RunFolder.create(config, resume=True)
    again.append_metrics(2, {"loss": 0.9})
    assert [(record["step"], record["loss"]) for record in again.read_metrics()] == [(1, 0.1), (2, 0.9), (3, 0.3)]


def test_a_torn_line_does_not_swallow_the_next_record(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2, "lo')
    lines = JsonLines(path)
    lines.append({"step": 3})
    lines.close()
    assert [record["step"] for record in read_lines(path)] == [1, 3]


def test_resume_with_another_configuration_lists_what_changed(config):
    RunFolder.create(config).close()
    other = msgspec.structs.replace(config, learner=LearnerConfig(learning_rate=1e-4), groups_per_step=16)
    with pytest.raises(FolderError) as caught:
        RunFolder.create(other, resume=True)
    changes = str(caught.value).splitlines()[1:]
    assert changes == ["  - groups_per_step: 32 -> 16", "  - learner.learning_rate: 1e-6 -> 0.0001"]


def test_what_may_change_on_resume(config):
    other = msgspec.structs.replace(
        config,
        steps=500,
        cluster=ClusterConfig(num_cpus=7),
        experiment=ExperimentConfig(arms=("baseline", "health_only")),
        arms={name: arm for name, arm in config.arms.items() if name != "helpfulness"},
    )
    assert changed_keys(config, other) == []


def test_a_change_of_the_own_arm_and_of_a_source_is_seen(config):
    arm = msgspec.structs.replace(config.arms["baseline"], description="new")
    (change,) = changed_keys(config, msgspec.structs.replace(config, arms={**config.arms, "baseline": arm}))
    assert change == 'arms.baseline.description: "standard RL data only" -> "new"'
    sources = (config.mix.sources[0], msgspec.structs.replace(config.mix.sources[1], fraction=0.1))
    mix = msgspec.structs.replace(config.mix, sources=sources)
    assert changed_keys(config, msgspec.structs.replace(config, mix=mix)) == ["mix.sources.1.fraction: 0.05 -> 0.1"]


def test_a_folder_that_cannot_be_made_says_where_and_what_to_do(config, tmp_path):
    (tmp_path / "exp").write_text("a file is in the way")
    with pytest.raises(FolderError, match=r"cannot write to .*output_dir"):
        RunFolder.create(config)


def test_git_state_names_commit_and_changes(tmp_path):
    assert git_state(tmp_path / "nowhere") is None
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    subprocess.run(["git", "-C", str(tmp_path), *identity, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    clean = git_state(tmp_path)
    assert clean is not None
    assert (len(clean["commit"]), clean["dirty"]) == (40, False)
    (tmp_path / "new.txt").write_text("x")
    dirty = git_state(tmp_path)
    assert dirty is not None
    assert (dirty["dirty"], dirty["changed_files"]) == (True, ["?? new.txt"])


def test_the_environment_names_versions():
    assert environment()["packages"]["msgspec"] == msgspec.__version__


def test_the_path_of_a_run(config):
    assert run_path(msgspec.structs.replace(config, arm="health_only", seed=1)).name == "health_only-seed1"
