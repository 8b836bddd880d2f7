from actors.gauges import gauges
from actors.metrics import METRICS, metric_of
from grading.config import GradingConfig
from grading.grader import Grader
from grading.judge import Judge
from grading.types import Check
from rollout.fleet import Fleet
from rollout.types import Message, Prompt
from tests.actors.fakes import FakeEngine, FakeGenerator, run

OURS = ("fleet/", "verdicts", "judge_tokens", "breaker_open", "sync_seconds", "parity")


class FakePublisher:
    def metrics(self) -> dict[str, float]:
        return {"sync_seconds": 1.5, "parity": 0.01}


def figures() -> dict[str, float]:
    fleet = Fleet()
    for number in range(2):
        fleet.add(f"rollout-engine-{number}", FakeEngine(""), 4, version=number + 3)
    fleet.quarantine("rollout-engine-1", "wrong weights")
    grader = Grader(Judge(FakeGenerator(), GradingConfig(), "judge"))
    check = Check(kind="exact", expected="4")
    prompt = Prompt(prompt_id="a", family="a", messages=(Message(role="user", content="2 + 2 ?"),), check=check)
    run(lambda: grader.grade_text(prompt, "4"))
    return gauges(fleet, grader, FakePublisher())


def test_fleet_judge_and_sync_each_tell_their_figures():
    found = figures()
    assert (found["fleet/serving"], found["fleet/quarantined"], found["fleet/deaths"]) == (1, 1, 0)
    assert found["fleet/version/rollout-engine-1"] == 4
    assert (found["grades"], found["verdicts"], found["breaker_open"]) == (1, 0, 0)
    assert (found["sync_seconds"], found["parity"]) == (1.5, 0.01)


def test_every_figure_that_the_metrics_list_of_them_is_there():
    told = {metric_of(name)[0].key for name in figures() if metric_of(name)}
    assert {metric.key for metric in METRICS if metric.key.startswith(OURS)} <= told
