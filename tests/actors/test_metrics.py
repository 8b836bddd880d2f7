import time
import urllib.request
from pathlib import Path

import pytest

from actors.metrics import METRICS, PREFIX, MetricsRecorder, metric_of, table


def test_the_documented_table_is_the_one_in_the_code():
    documented = [line for line in Path("docs/metrics.md").read_text().splitlines() if line.startswith("|")]
    assert documented == table().splitlines()


def test_names_are_unique_and_fit_prometheus():
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert all(name.startswith(PREFIX) and name.replace("_", "").isalnum() and name.islower() for name in names)


@pytest.mark.parametrize(
    ("figure", "name", "label"),
    [
        ("policy_lag", "beneficial_rl_policy_lag", ""),
        ("reward/standard", "beneficial_rl_reward", "standard"),
        ("fleet/deaths", "beneficial_rl_fleet_deaths", ""),
        ("fleet/version/rollout-0", "beneficial_rl_fleet_version", "rollout-0"),
        ("evaluation_score/a/b", "beneficial_rl_evaluation_score", "a/b"),
    ],
)
def test_a_figure_finds_its_metric_and_label(figure, name, label):
    found = metric_of(figure)
    assert found is not None
    assert (found[0].name, found[1]) == (name, label)


@pytest.mark.parametrize("figure", ["reward", "policy_lag/standard", "unheard_of", "reward/"])
def test_figures_that_are_not_listed_have_none(figure):
    assert metric_of(figure) is None


class Instrument:
    made: dict[str, "Instrument"] = {}  # noqa: RUF012

    def __init__(self, name, description="", boundaries=None, tag_keys=()):
        self.tag_keys, self.sent = tag_keys, []
        Instrument.made[name] = self

    def set(self, value, tags):
        assert set(tags) == set(self.tag_keys)
        self.sent.append((value, tags))

    observe = set


@pytest.fixture
def instruments(monkeypatch):
    monkeypatch.setattr("ray.util.metrics.Gauge", Instrument)
    monkeypatch.setattr("ray.util.metrics.Histogram", Instrument)
    monkeypatch.setattr(Instrument, "made", {})
    return Instrument.made


def test_figures_reach_their_instruments_with_their_tags(instruments):
    recorder = MetricsRecorder(arm="baseline", seed=2)
    recorder.record({"policy_lag": 1, "reward/standard": 0.5, "seconds/train": 2.5, "odd": 1.0})
    run = {"arm": "baseline", "seed": "2"}
    assert instruments[PREFIX + "policy_lag"].sent == [(1.0, run)]
    assert instruments[PREFIX + "reward"].sent == [(0.5, run | {"source": "standard"})]
    assert instruments[PREFIX + "seconds"].sent == [(2.5, run | {"phase": "train"})]
    assert sum(len(instrument.sent) for instrument in instruments.values()) == 3
    assert len(instruments) == len(METRICS)


@pytest.mark.slow
def test_ray_serves_the_figures_on_its_metrics_port():
    import ray

    ray.init(
        num_cpus=1,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=100 * 2**20,
        _system_config={"metrics_report_interval_ms": 500},
    )
    try:
        MetricsRecorder(arm="baseline", seed=2).record({"reward/standard": 0.625, "seconds/train": 2.5})
        port = ray.nodes()[0]["MetricsExportPort"]
        lines = await_lines(f"http://127.0.0.1:{port}/metrics", "ray_beneficial_rl_reward{")
        assert any('source="standard"' in line and line.endswith(" 0.625") for line in lines)
        assert any('arm="baseline"' in line and 'seed="2"' in line for line in lines)
    finally:
        ray.shutdown()


def await_lines(address: str, start: str) -> list[str]:
    """The lines of a metrics page that start so, once there are any."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with urllib.request.urlopen(address, timeout=5) as page:
            lines = [line for line in page.read().decode().splitlines() if line.startswith(start)]
        if lines:
            return lines
        time.sleep(0.5)
    raise AssertionError(f"no line of {address} starts with {start!r} after 60 s")
