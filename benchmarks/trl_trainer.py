"""TRL's GRPOTrainer on a workload. Runs in TRL's own environment and imports nothing of this project.

Takes a JSON file as its only argument and writes {"step_seconds": [...], "lengths": [[...], ...]}, both with one
entry a step, warm-up included. What could make TRL slower without need is off: checkpoints, gradient
checkpointing, progress bars, reports.
"""

import json
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import TrainerCallback
from trl import GRPOConfig, GRPOTrainer


class StepClock(TrainerCallback):
    """Notes when each optimizer step began and ended."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Note the start of the first step."""
        self.times.append(time.perf_counter())

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note the end of a step, which is the start of the next."""
        self.times.append(time.perf_counter())


class Reward:
    """The benchmark's check: 1.0 where a full stop comes before any exclamation mark. Notes completions' lengths."""

    __name__ = "full_stop_first"

    def __init__(self) -> None:
        self.lengths: list[list[int]] = []

    def __call__(self, completions: list[Any], completion_ids: list[list[int]], **_: Any) -> list[float]:
        """One reward for each completion of a step."""
        self.lengths.append([len(token_ids) for token_ids in completion_ids])
        return [float(_first_mark(completion[0]["content"]) == ".") for completion in completions]


def _first_mark(text: str) -> str:
    return next((character for character in text if character in ".!"), "")


def _config(task: dict[str, Any]) -> GRPOConfig:
    return GRPOConfig(
        output_dir=task["folder"],
        max_steps=task["num_steps"],
        per_device_train_batch_size=task["num_rollouts"],
        num_generations=task["group_size"],
        max_completion_length=task["new_tokens"],
        learning_rate=1e-6,
        temperature=1.0,
        bf16=True,
        model_init_kwargs={"dtype": "bfloat16", "attn_implementation": task["attention"]},
        use_cpu=True,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        logging_steps=1,
    )


def _dataset(path: str) -> Dataset:
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return Dataset.from_list([{"prompt": json.loads(line)["messages"]} for line in lines])


def main() -> None:
    """Train as the JSON file says."""
    task = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    clock, reward = StepClock(), Reward()
    trainer = GRPOTrainer(
        model=task["model"],
        reward_funcs=reward,
        args=_config(task),
        train_dataset=_dataset(task["prompts"]),
        callbacks=[clock],
    )
    trainer.train()
    seconds = [after - before for before, after in pairwise(clock.times)]
    Path(task["answer"]).write_text(json.dumps({"step_seconds": seconds, "lengths": reward.lengths}), encoding="utf-8")


if __name__ == "__main__":
    main()
