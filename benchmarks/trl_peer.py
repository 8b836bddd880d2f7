"""TRL's GRPOTrainer on the same model, prompts and shapes, measured in its own environment."""

from pathlib import Path

import msgspec

from benchmarks.process import REPOSITORY, run_process
from benchmarks.records import Measurement
from benchmarks.workloads import GROUP_SIZE, NUM_WARMUP, Workload, num_cores, require_lengths

TIMEOUT_S = 7200.0
ATTENTION = "eager"
"""As in our learner: on a CPU in bfloat16, torch's fused attention has a slow backward pass, for TRL as for us."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What `trl_trainer` writes, one entry a step."""

    step_seconds: list[float]
    lengths: list[list[int]]


def measure(workload: Workload, model: Path, folder: Path, python: Path) -> Measurement:
    """Train in `folder`, which holds standard.jsonl, with the interpreter of TRL's environment.

    Raises:
        RuntimeError: TRL failed, or a completion has another length than all must have.
    """
    answer, task = folder / "trl-answer.json", folder / "trl-task.json"
    task.write_bytes(msgspec.json.encode(_task(workload, model, folder, answer)))
    command = [str(python), str(REPOSITORY / "benchmarks" / "trl_trainer.py"), str(task)]
    run_process(command, folder / "trl.log", TIMEOUT_S, {"OMP_NUM_THREADS": str(num_cores())})
    return _measurement(msgspec.json.decode(answer.read_bytes(), type=Answer), workload)


def _task(workload: Workload, model: Path, folder: Path, answer: Path) -> dict[str, str | int]:
    return {
        "model": str(model),
        "prompts": str(folder / "standard.jsonl"),
        "folder": str(folder / "trl"),
        "answer": str(answer),
        "num_steps": NUM_WARMUP + workload.num_steps,
        "num_rollouts": workload.num_rollouts,
        "group_size": GROUP_SIZE,
        "new_tokens": workload.model.new_tokens,
        "attention": ATTENTION,
    }


def _measurement(answer: Answer, workload: Workload) -> Measurement:
    lengths = [length for step in answer.lengths[NUM_WARMUP:] for length in step]
    return Measurement(
        step_seconds=tuple(answer.step_seconds[NUM_WARMUP:]),
        num_samples=require_lengths(lengths, workload, workload.num_steps * workload.num_rollouts, "TRL"),
        num_tokens=sum(lengths),
    )
