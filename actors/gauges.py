"""The fleet's, the judge's and the sync's own figures, under the names that `actors.metrics` knows."""

from actors.publisher import Publisher
from grading.grader import Grader
from rollout.fleet import Fleet


def gauges(fleet: Fleet, grader: Grader, publisher: Publisher) -> dict[str, float]:
    """Figures that no step produces: what is under way, who died, how the judge and the sync do."""
    return fleet.metrics() | grader.metrics() | publisher.metrics()
