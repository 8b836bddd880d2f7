"""Whole runs on the real engines: train, checkpoint, evaluate, be killed, resume, finish."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pandas as pd
import pytest

from actors.folder import read_lines
from evaluation.store import ResultsStore
from rollout.ledger_audit import audit_ledger
from tests.support.tiny_run import make_tiny_run

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]


def start(config: Path, command: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "actors.main", command, str(config), *arguments],
        cwd=REPOSITORY,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    return output


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.1)


def test_a_killed_run_resumes_and_every_slot_is_trained_once(tmp_path: Path) -> None:
    config = make_tiny_run(tmp_path, steps=6)
    run = tmp_path / "runs" / "tiny" / "multi_domain-seed0"
    first = start(config, "train")
    wait_for(run / "checkpoints" / "step-000002" / "manifest.json", first)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()

    output = finish(start(config, "train", "--resume"))

    assert "resumed from step" in output
    audit = audit_ledger(run / "ledger.jsonl", groups_per_step=4, steps=6)
    assert audit.num_slots == 24
    steps = {record["step"] for record in read_lines(run / "metrics.jsonl")}
    assert steps == set(range(1, 7))
    results = ResultsStore(run).read()
    assert {(result.step, result.evaluation) for result in results} == {
        (step, name) for step in (0, 2, 4, 6) for name in ("letters", "sums")
    }
    assert (tmp_path / "runs" / "tiny" / "report" / "index.html").exists()
    table = pd.read_csv(tmp_path / "runs" / "tiny" / "report" / "results.csv")
    assert len(table) == len(results)


def test_arms_share_engines_and_the_prompts_outside_the_intervention(tmp_path: Path) -> None:
    config = make_tiny_run(tmp_path, steps=2)

    finish(start(config, "experiment", "--set", "learner.num_ranks=2", "--set", "learner.zero_stage=2"))

    def standard_prompts(arm: str) -> list[str]:
        folder = tmp_path / "runs" / "tiny" / f"{arm}-seed0"
        return [
            entry["prompt_id"]
            for entry in sorted(read_lines(folder / "ledger.jsonl"), key=lambda entry: entry["slot"])
            if entry["source"] == "standard" and entry["attempt"] == 0 and entry["outcome"] == "dispatched"
        ]

    assert standard_prompts("baseline") == standard_prompts("multi_domain")
    lag = [
        record["policy_lag"]
        for record in read_lines(tmp_path / "runs" / "tiny" / "multi_domain-seed0" / "metrics.jsonl")
    ]
    assert max(lag) <= 1
    manifests = [
        msgspec.json.decode(path.read_bytes())
        for path in (tmp_path / "runs" / "tiny").glob("*/checkpoints/step-000002/manifest.json")
    ]
    assert len({manifest["weights_hash"] for manifest in manifests}) == 2
