"""Which actor gets which part of the cluster, and a clear refusal when the cluster is too small.

The plan (`bundles`) is pure and serves `--dry-run`; only `reserve` talks to Ray.
"""

import math
from typing import TYPE_CHECKING

import msgspec

from actors.config import Config

if TYPE_CHECKING:
    from ray.util.placement_group import PlacementGroup

CPU_SHARE = 0.1
"""CPUs that an actor reserves on a machine without GPUs. Its engines' threads are limited by
`cpu_threads`, not by Ray: two cores must be able to host all actors of the miniature."""
CPUS_PER_GPU = 2.0
"""CPUs that an actor reserves beside each of its GPUs, for tokenization and data movement."""


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """What one actor reserves."""

    actor: str
    """Name of the actor, as the Ray dashboard shows it."""
    cpus: float
    gpus: float


class PlacementError(RuntimeError):
    """The cluster cannot hold the actors."""


def bundles(config: Config) -> tuple[Bundle, ...]:
    """One bundle for each actor, in the order: learner ranks, rollout, grader, evaluators."""
    fleets = [
        ("learner-rank", config.learner.num_ranks, 1),
        ("rollout-engine", config.rollout.num_engines, config.rollout.engine.tensor_parallel_size),
        ("grader-engine", config.grading.num_engines, config.grading.engine.tensor_parallel_size),
        ("evaluator", config.evaluation.num_evaluators, config.evaluation.engine.tensor_parallel_size),
    ]
    num_actors = sum(count for _, count, _ in fleets)
    return tuple(
        _bundle(f"{name}-{index}", config, gpus, num_actors) for name, count, gpus in fleets for index in range(count)
    )


def _bundle(actor: str, config: Config, gpus: int, num_actors: int) -> Bundle:
    if config.cluster.device == "cpu":
        return Bundle(actor=actor, cpus=CPU_SHARE, gpus=0)
    if config.cluster.share_gpu:
        # All actors take turns on one card: a fraction each, rounded down so that together they fit.
        return Bundle(actor=actor, cpus=1.0, gpus=math.floor(1000 / num_actors) / 1000)
    return Bundle(actor=actor, cpus=CPUS_PER_GPU * gpus, gpus=gpus)


def reserve(wanted: tuple[Bundle, ...], timeout_s: float) -> "PlacementGroup":
    """Reserve all bundles at once in the connected cluster, or say within `timeout_s` what is missing.

    Raises:
        PlacementError: with what is needed and what there is.
    """
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    group = placement_group([_resources(bundle) for bundle in wanted], strategy="PACK", name="beneficial-rl")
    if group.wait(timeout_s):
        return group
    remove_placement_group(group)
    total: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
    raise PlacementError(
        f"the cluster cannot place {len(wanted)} actors: they need "
        f"{sum(b.cpus for b in wanted):g} CPUs and {sum(b.gpus for b in wanted):g} GPUs "
        f"(largest single actor: {max(b.gpus for b in wanted):g} GPUs); "
        f"the cluster has {total.get('CPU', 0):g} CPUs and {total.get('GPU', 0):g} GPUs, of which "
        f"{free.get('CPU', 0):g} and {free.get('GPU', 0):g} are free. Add nodes, or lower rollout.num_engines, "
        "grading.num_engines, evaluation.num_evaluators or learner.num_ranks."
    )


def _resources(bundle: Bundle) -> dict[str, float]:
    resources = {"CPU": bundle.cpus}
    if bundle.gpus:
        resources["GPU"] = bundle.gpus
    return resources
