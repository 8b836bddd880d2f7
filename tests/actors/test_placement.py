import importlib

import pytest

from actors.config import ClusterConfig, Config
from actors.load import load_config
from actors.placement import Bundle, PlacementError, bundles, reserve
from evaluation.config import EvaluationConfig
from grading.config import GradingConfig
from learner.config import LearnerConfig
from rollout.config import EngineConfig, RolloutConfig


def config_of(device: str, share_gpu: bool = False, ranks=1, rollouts=1, graders=1, evaluators=1, tensor_parallel=1):
    engine = EngineConfig(tensor_parallel_size=tensor_parallel)
    return Config(
        name="test",
        learner=LearnerConfig(num_ranks=ranks),
        rollout=RolloutConfig(num_engines=rollouts, engine=engine),
        grading=GradingConfig(num_engines=graders, engine=engine),
        evaluation=EvaluationConfig(num_evaluators=evaluators),
        cluster=ClusterConfig(device=device, share_gpu=share_gpu),
    )


def test_on_a_cpu_every_actor_reserves_little_and_no_gpu():
    assert bundles(config_of("cpu", ranks=2, rollouts=2)) == (
        Bundle(actor="learner-rank-0", cpus=0.1, gpus=0),
        Bundle(actor="learner-rank-1", cpus=0.1, gpus=0),
        Bundle(actor="rollout-engine-0", cpus=0.1, gpus=0),
        Bundle(actor="rollout-engine-1", cpus=0.1, gpus=0),
        Bundle(actor="grader-engine-0", cpus=0.1, gpus=0),
        Bundle(actor="evaluator-0", cpus=0.1, gpus=0),
    )


def test_eight_gpus_are_four_ranks_two_rollout_engines_a_judge_and_an_evaluator():
    placed = bundles(config_of("cuda", ranks=4, rollouts=2))
    assert [bundle.gpus for bundle in placed] == [1] * 8
    assert [bundle.cpus for bundle in placed] == [2.0] * 8


def test_an_engine_over_several_gpus_reserves_them_together():
    placed = bundles(config_of("cuda", evaluators=0, tensor_parallel=4))
    assert [(bundle.actor, bundle.cpus, bundle.gpus) for bundle in placed] == [
        ("learner-rank-0", 2.0, 1),
        ("rollout-engine-0", 8.0, 4),
        ("grader-engine-0", 8.0, 4),
    ]


@pytest.mark.parametrize(("rollouts", "share"), [(1, 0.25), (4, 0.142), (3, 0.166)])
def test_on_a_shared_gpu_everyone_has_an_equal_share_and_all_fit(rollouts, share):
    placed = bundles(config_of("cuda", share_gpu=True, rollouts=rollouts))
    assert {bundle.gpus for bundle in placed} == {share}
    assert sum(bundle.gpus for bundle in placed) <= 1
    assert {bundle.cpus for bundle in placed} == {1.0}


@pytest.mark.parametrize(
    ("name", "cpus", "gpus"),
    [("demo", 0.4, 0), ("control", 0.4, 0), ("qwen3_8gpu", 16, 8), ("qwen3_24gb", 4, 1)],
)
def test_the_shipped_configurations_need_what_their_names_promise(name, cpus, gpus):
    placed = bundles(load_config(f"configs/{name}.toml"))
    assert sum(bundle.cpus for bundle in placed) == pytest.approx(cpus)
    assert sum(bundle.gpus for bundle in placed) == gpus


class FakePlacement:
    def __init__(self, granted: bool) -> None:
        self.granted = granted
        self.waited: list[float] = []

    def wait(self, timeout_s: float) -> bool:
        self.waited.append(timeout_s)
        return self.granted


@pytest.fixture
def cluster(monkeypatch):
    """A Ray that remembers what was reserved and given back, and grants it or not."""
    ray = importlib.import_module("ray")
    module = importlib.import_module("ray.util.placement_group")

    class Cluster:
        placement = FakePlacement(granted=True)
        asked: tuple = ()
        removed: tuple = ()

    seen = Cluster()

    def placement_group(resources, strategy, name):
        seen.asked = (*seen.asked, resources)
        return seen.placement

    monkeypatch.setattr(module, "placement_group", placement_group)
    monkeypatch.setattr(module, "remove_placement_group", lambda group: setattr(seen, "removed", (group,)))
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 16.0, "GPU": 4.0})
    monkeypatch.setattr(ray, "available_resources", lambda: {"CPU": 15.0, "GPU": 3.0})
    return seen


def test_all_actors_are_reserved_at_once(cluster):
    wanted = bundles(config_of("cuda", evaluators=0, tensor_parallel=2))
    assert reserve(wanted, 5.0) is cluster.placement
    assert cluster.asked == ([{"CPU": 2.0, "GPU": 1}, {"CPU": 4.0, "GPU": 2}, {"CPU": 4.0, "GPU": 2}],)
    assert cluster.placement.waited == [5.0]
    assert cluster.removed == ()


def test_an_actor_without_gpu_asks_for_none(cluster):
    reserve(bundles(config_of("cpu")), 5.0)
    assert cluster.asked == ([{"CPU": 0.1}] * 4,)


def test_a_cluster_that_is_too_small_is_refused_with_what_is_missing(cluster):
    cluster.placement = FakePlacement(granted=False)
    with pytest.raises(PlacementError) as caught:
        reserve(bundles(config_of("cuda", ranks=4, rollouts=2)), 0.1)
    for words in ("8 actors", "16 CPUs and 8 GPUs", "has 16 CPUs and 4 GPUs", "15 and 3 are free", "num_engines"):
        assert words in str(caught.value)
    assert cluster.removed == (cluster.placement,)
