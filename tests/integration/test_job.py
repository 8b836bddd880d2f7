"""The way users run it on a cluster: a head node, `ray job submit`, the job's log and the metrics port."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.tiny_run import make_tiny_run

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
ENVIRONMENT = os.environ | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "RAY_DISABLE_IMPORT_WARNING": "1"}


class Head:
    """A Ray head node of this test's own, in its own folder and on its own ports."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.dashboard = folder, free_port(), free_port()
        self.home = folder / "home"
        environment = ENVIRONMENT | {"BENEFICIAL_RL_HOME": str(self.home)}
        ray(
            "start", "--head", f"--port={self.port}", "--dashboard-host=127.0.0.1",
            f"--dashboard-port={self.dashboard}", f"--temp-dir={folder}", "--num-cpus=2", "--disable-usage-stats",
            environment=environment,
        )  # fmt: skip

    def submit(self, *entrypoint: str) -> subprocess.Popen[str]:
        address = f"http://127.0.0.1:{self.dashboard}"
        command = ["ray", "job", "submit", "--address", address, "--working-dir", ".", "--", *entrypoint]
        return subprocess.Popen(
            command, cwd=REPOSITORY, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def metrics(self) -> str:
        """All metrics of the node, from the endpoints that Ray lists for Prometheus."""
        listing = json.loads((self.folder / "prom_metrics_service_discovery.json").read_text())
        targets = [target for entry in listing for target in entry["targets"]]
        return "\n".join(fetch(f"http://{target}/metrics") for target in targets)


def ray(*arguments: str, environment: dict[str, str] = ENVIRONMENT) -> None:
    subprocess.run(["ray", *arguments], env=environment, check=True, timeout=120, stdout=subprocess.DEVNULL)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.read().decode()


@pytest.fixture
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Head]:
    # Ray puts Unix sockets below this folder, whose names may have no more than 107 characters.
    folder = Path("/tmp") / f"brl-{os.getpid()}"
    node = Head(folder)
    yield node
    ray("stop")


def test_a_submitted_job_runs_serves_metrics_and_reports_failure(head: Head, tmp_path: Path) -> None:
    config = make_tiny_run(tmp_path, steps=3)

    job = head.submit("python", "-m", "actors.main", "train", str(config))
    gauges: set[str] = set()
    while job.poll() is None:
        gauges |= set(re.findall(r"^ray_(beneficial_rl_\w+)\{", head.metrics(), re.MULTILINE))
        time.sleep(1)
    log = job.communicate()[0]

    assert job.returncode == 0, log
    assert {"beneficial_rl_step", "beneficial_rl_reward", "beneficial_rl_mix", "beneficial_rl_policy_lag"} <= gauges
    assert (tmp_path / "runs" / "tiny" / "report" / "index.html").exists()

    broken = head.submit("python", "-m", "actors.main", "train", str(config), "--set", "learner.learning_rat=1")
    log = broken.communicate(timeout=120)[0]

    assert broken.returncode != 0
    assert "learning_rate" in log
    assert "Traceback" not in log.split("beneficial-rl:")[0]
