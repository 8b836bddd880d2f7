"""The fleet's, the judge's and the sync's own figures, under the names of `actors.metrics`."""

from actors.publisher import Publisher
from grading.grader import Grader
from rollout.fleet import Fleet


def gauges(fleet: Fleet, grader: Grader, publisher: Publisher) -> dict[str, float]:
    """Figures that nobody's step produces: what is under way, who died, how the judge and the sync do."""
    figures = publisher.metrics()
    for name, value in fleet.metrics().items():
        kind, _, engine = name.removeprefix("fleet/").partition("/")
        if kind in _OF_ENGINE and engine:
            figures[f"{_OF_ENGINE[kind]}/{engine}"] = value
        elif not engine and kind in _OF_FLEET:
            figures[_OF_FLEET[kind]] = value
    judge = grader.metrics()
    figures |= {ours: judge[theirs] for theirs, ours in _OF_JUDGE.items() if theirs in judge}
    return figures


_OF_ENGINE = {"in_flight": "in_flight", "version": "engine_version"}
_OF_FLEET = {"waiting": "waiting", "deaths": "engine_deaths", "quarantined": "quarantined"}
_OF_JUDGE = {
    "cache_hit_share": "cache_hit_share",
    "grades_ungraded": "judge_failures",
    "ungraded_share": "judge_ungraded_share",
    "breaker_open": "judge_breaker_open",
}
