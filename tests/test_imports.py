"""Light modules stay light: importing them loads no engine, no Ray and no torch."""

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "vllm", "ray", "deepspeed", "openrlhf", "transformers")

LIGHT = (
    "actors.main",
    "actors.load",
    "actors.plan",
    "actors.doctor",
    "actors.folder",
    "actors.progress",
    "actors.metrics",
    "actors.placement",
    "evaluation.types",
    "evaluation.suite",
    "evaluation.statistics",
    "evaluation.store",
    "grading.types",
    "grading.grader",
    "grading.judge",
    "grading.verifiers",
    "learner.types",
    "learner.config",
    "rollout.types",
    "rollout.engine",
    "rollout.fleet",
    "rollout.ledger",
    "rollout.mix",
    "rollout.sampler",
    "scenarios.config",
    "scenarios.jsonl",
    "scenarios.traits",
)


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """For each light module, the heavy packages that were loaded once it was imported, one process for all."""
    program = (
        "import importlib, json, sys\n"
        f"light, heavy = {LIGHT!r}, {HEAVY!r}\n"
        "found = {}\n"
        "for name in light:\n"
        "    importlib.import_module(name)\n"
        "    found[name] = [package for package in heavy if package in sys.modules]\n"
        "print(json.dumps(found))\n"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


@pytest.mark.parametrize("module", LIGHT)
def test_a_light_module_loads_nothing_heavy(loaded, module):
    assert loaded[module] == []
