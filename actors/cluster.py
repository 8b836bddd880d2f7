"""Connecting to Ray: a cluster, the job that we run in, or a Ray of our own on this machine."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from actors.config import Config

HOME_VARIABLE = "BENEFICIAL_RL_HOME"


def in_ray_job() -> bool:
    """True in the entry point of a submitted Ray job."""
    return "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ


def anchored(path: str) -> str:
    """An absolute path for a relative one.

    A submitted job runs in a temporary copy of the working directory, in which results would be lost: there,
    relative paths start at $BENEFICIAL_RL_HOME, or else at ~/beneficial-rl.
    """
    if in_ray_job() and not Path(path).is_absolute():
        return str(Path(os.environ.get(HOME_VARIABLE, Path.home() / "beneficial-rl")) / path)
    return str(Path(path).absolute())


def namespace(config: Config) -> str:
    """Ray namespace of an experiment: actors of two experiments may have the same names."""
    return f"beneficial-rl-{config.name}"


@contextmanager
def connected(config: Config) -> Iterator[None]:
    """Connect to Ray for the length of the block; a Ray that was started here ends with it."""
    address = config.cluster.address or os.environ.get("RAY_ADDRESS", "")
    if address or in_ray_job():
        ray.init(address=address or "auto", namespace=namespace(config), log_to_driver=False)
    else:
        ray.init(
            num_cpus=config.cluster.num_cpus or None,
            namespace=namespace(config),
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    try:
        yield
    finally:
        ray.shutdown()
