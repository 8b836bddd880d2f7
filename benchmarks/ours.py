"""Our system, measured from outside: the command line trains, and its run's folder tells how fast.

The window is one of steady state. It opens after the warm-up, when the pipeline is full, and closes
`MAX_POLICY_LAG` steps before the end, while generation is still under way for steps that do not count.
"""

import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec

from actors.folder import read_lines
from benchmarks.process import run_process
from benchmarks.records import Measurement, OurMeasurement
from benchmarks.workloads import (
    GROUP_SIZE,
    MAX_POLICY_LAG,
    NUM_WARMUP,
    Workload,
    engine_config,
    require_lengths,
    threads_each,
)
from rollout.types import GradedGroup

TIMEOUT_S = 3600.0

CONFIG = """\
name = "benchmark"
output_dir = "{folder}"
model = "{model}"
arm = "baseline"
steps = {steps}
groups_per_step = {groups_per_step}
max_policy_lag = {max_policy_lag}

[data]
kind = "jsonl"
standard = "{folder}/standard.jsonl"
trait = "{folder}/trait.jsonl"

[rollout]
max_attempts = 1  # a group whose rewards are all equal is trained too, as in TRL
sampling = {{ max_tokens = {new_tokens}, num_samples = {group_size} }}
engine = {{ {engine} }}

[grading]
model = "{model}"  # checks grade everything: the judge is never asked
max_tokens = 16
engine = {{ max_model_len = 512, max_num_seqs = 8, kv_cache_gib = 0.1 }}

[learner]
dtype = "bfloat16"
attention = "eager"
cpu_threads = {threads}

[evaluation]
num_evaluators = 0

[checkpoint]
every_steps = 1_000_000
"""


def measure(workload: Workload, model: Path, folder: Path) -> OurMeasurement:
    """Train in `folder`, which holds standard.jsonl and trait.jsonl, with the model of another folder.

    Raises:
        RuntimeError: the run failed, or a completion has another length than all must have.
    """
    config = folder / "config.toml"
    config.write_text(_config(workload, model, folder), encoding="utf-8")
    command = [sys.executable, "-m", "actors.main", "train", str(config), "--debug"]
    started = time.time()
    run_process(command, folder / "ours.log", TIMEOUT_S, {"OMP_NUM_THREADS": str(threads_each())})
    return read_run(folder / "benchmark" / "baseline-seed0", workload, started)


def _config(workload: Workload, model: Path, folder: Path) -> str:
    engine = engine_config()
    fields = ("max_model_len", "max_num_seqs", "kv_cache_gib", "cpu_threads")
    return CONFIG.format(
        folder=folder,
        model=model,
        steps=NUM_WARMUP + workload.num_steps + MAX_POLICY_LAG,
        groups_per_step=workload.groups_per_step,
        max_policy_lag=MAX_POLICY_LAG,
        new_tokens=workload.model.new_tokens,
        group_size=GROUP_SIZE,
        engine=", ".join(f"{field} = {getattr(engine, field)}" for field in fields),
        threads=threads_each(),
    )


def read_run(run: Path, workload: Workload, started: float) -> OurMeasurement:
    """What a run's folder tells of the steps in the window; `started` is when the command was, Unix seconds."""
    lines = list(read_lines(run / "metrics.jsonl"))
    window = lines[NUM_WARMUP : NUM_WARMUP + workload.num_steps]
    times = [line["time"] for line in lines[NUM_WARMUP - 1 : NUM_WARMUP + workload.num_steps]]
    lengths = [length for line in window for length in _lengths(run, line["step"])]
    return OurMeasurement(
        total=Measurement(
            step_seconds=tuple(after - before for before, after in pairwise(times)),
            num_samples=require_lengths(lengths, workload, workload.num_steps * workload.num_rollouts, "our run"),
            num_tokens=sum(lengths),
        ),
        phases=_phases(window),
        start_seconds=lines[0]["time"] - lines[0]["seconds/step"] - started,
    )


def _lengths(run: Path, step: int) -> list[int]:
    """Tokens of every completion that a step was trained on."""
    decoder = msgspec.json.Decoder(GradedGroup)
    with (run / "rollouts" / f"step-{step:05d}.jsonl").open("rb") as file:
        groups = [decoder.decode(line).group for line in file]
    return [len(completion.token_ids) for group in groups for completion in group.completions]


def _phases(lines: list[dict[str, Any]]) -> dict[str, float]:
    names = dict.fromkeys(key for line in lines for key in line if key.startswith("seconds/"))
    return {name.removeprefix("seconds/"): sum(line.get(name, 0.0) for line in lines) / len(lines) for name in names}
