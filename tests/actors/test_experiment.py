import msgspec
import pytest

from actors.config import Config, ExperimentConfig
from actors.experiment import chosen_evaluations, run_configs, write_experiment
from actors.folder import FolderError
from evaluation.config import EvaluationConfig
from evaluation.experiment import ExperimentRecord
from evaluation.types import Evaluation, Role
from scenarios.config import DataConfig

OFFERED = [
    Evaluation(name=name, family="f", role=Role.CAPABILITY, description="d", items=())
    for name in ("sums", "care", "law")
]


def config_of(**values) -> Config:
    return Config(name="demo", data=DataConfig(kind="jsonl"), **values)


def test_every_arm_runs_with_every_seed_and_a_seeds_arms_follow_each_other():
    config = config_of(steps=7, experiment=ExperimentConfig(arms=("baseline", "multi_domain"), seeds=(0, 3)))
    runs = list(run_configs(config))
    assert [(run.arm, run.seed) for run in runs] == [
        ("baseline", 0),
        ("multi_domain", 0),
        ("baseline", 3),
        ("multi_domain", 3),
    ]
    assert {run.steps for run in runs} == {7}


def test_evaluations_are_chosen_by_name_in_the_order_named():
    chosen = chosen_evaluations(config_of(evaluation=EvaluationConfig(names=("law", "sums"))), OFFERED)
    assert [evaluation.name for evaluation in chosen] == ["law", "sums"]
    assert chosen_evaluations(config_of(), OFFERED) == OFFERED


def test_without_evaluators_nothing_is_evaluated():
    assert chosen_evaluations(config_of(evaluation=EvaluationConfig(num_evaluators=0)), OFFERED) == []


def test_an_unknown_evaluation_is_refused_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"no evaluation 'summs'; there are: sums, care, law"):
        chosen_evaluations(config_of(evaluation=EvaluationConfig(names=("sums", "summs"))), OFFERED)


def test_the_experiments_record_can_be_read_again(tmp_path):
    config = config_of(output_dir=str(tmp_path), experiment=ExperimentConfig(arms=("baseline", "law"), seeds=(1, 2)))
    write_experiment(config)
    record = msgspec.json.decode((tmp_path / "demo" / "experiment.json").read_bytes(), type=ExperimentRecord)
    assert (record.name, record.arms, record.seeds) == ("demo", ("baseline", "law"), (1, 2))


def test_a_place_that_cannot_be_written_is_told_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FolderError, match="output_dir"):
        write_experiment(config_of(output_dir=str(tmp_path / "file")))
