import pytest

from actors import cluster
from actors.cluster import anchored, connected, namespace
from actors.config import ClusterConfig, Config

JOB = "RAY_JOB_CONFIG_JSON_ENV_VAR"


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """No Ray around us, and a folder of our own."""
    for variable in (JOB, "RAY_ADDRESS", cluster.HOME_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ray(monkeypatch):
    class FakeRay:
        started: tuple = ()
        num_shutdowns = 0

        def init(self, **options):
            self.started = (*self.started, options)

        def shutdown(self):
            self.num_shutdowns += 1

    fake = FakeRay()
    monkeypatch.setattr(cluster, "ray", fake)
    return fake


def test_a_relative_path_starts_where_the_command_does(tmp_path):
    assert anchored("runs") == str(tmp_path / "runs")
    assert anchored("/data/runs") == "/data/runs"


def test_in_a_job_a_relative_path_starts_at_home(monkeypatch, tmp_path):
    monkeypatch.setenv(JOB, "{}")
    monkeypatch.setenv("HOME", "/home/lab")
    assert anchored("runs") == "/home/lab/beneficial-rl/runs"
    monkeypatch.setenv(cluster.HOME_VARIABLE, "/shared/brl")
    assert anchored("runs") == "/shared/brl/runs"
    assert anchored("/data/runs") == "/data/runs"


def test_experiments_have_namespaces_of_their_own():
    assert namespace(Config(name="demo")) != namespace(Config(name="control"))


@pytest.mark.parametrize(
    ("configured", "variable", "in_job", "address"),
    [
        ("ray://here", "", False, "ray://here"),
        ("ray://here", "ray://there", True, "ray://here"),
        ("", "ray://there", False, "ray://there"),
        ("", "", True, "auto"),
        ("", "", False, None),
    ],
)
def test_it_connects_to_the_cluster_that_there_is_or_starts_one(
    monkeypatch, ray, configured, variable, in_job, address
):
    if variable:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    if in_job:
        monkeypatch.setenv(JOB, "{}")
    config = Config(name="demo", cluster=ClusterConfig(address=configured, num_cpus=2))
    with connected(config):
        assert len(ray.started) == 1
        assert ray.num_shutdowns == 0
    assert ray.started[0].get("address") == address
    assert ray.started[0].get("num_cpus") == (None if address else 2)
    assert ray.started[0]["namespace"] == "beneficial-rl-demo"
    assert ray.num_shutdowns == 1


def test_it_disconnects_also_after_a_failure(ray):
    with pytest.raises(ValueError, match="broken"), connected(Config(name="demo")):
        raise ValueError("broken")
    assert ray.num_shutdowns == 1
