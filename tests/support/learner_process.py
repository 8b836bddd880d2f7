"""Runs a real learner in processes of its own, since a process can join one process group only.

The test describes what to do as a list of actions; rank 0 writes down what came out.
"""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
VOCABULARY = 320


class Outcome(NamedTuple):
    """What each action returned, and the last lines of rank 0's output."""

    results: list[Any]
    log: str


def run_learner(
    folder: Path,
    model: Path,
    config: dict[str, Any],
    actions: list[list[Any]],
    ranks: int = 1,
    timeout_s: float = 240.0,
) -> Outcome:
    """Run `actions` on a learner with `ranks` processes. Fails when a process fails."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "task.json").write_text(json.dumps({"model": str(model), "config": config, "actions": actions}))
    port = str(_free_port())
    environment = os.environ | {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, "-m", "tests.support.learner_process", str(folder)]
    outputs = [(folder / f"rank{rank}.log").open("w+") for rank in range(ranks)]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(ranks), port], cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
        for rank, out in enumerate(outputs)
    ]
    try:
        codes = [process.wait(timeout_s) for process in processes]
    finally:
        for process in processes:
            process.kill()
    logs = [(folder / f"rank{rank}.log").read_text()[-4000:] for rank in range(ranks)]
    assert codes == [0] * ranks, "\n".join(logs)
    return Outcome(json.loads((folder / "results.json").read_text()), logs[0])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _main(folder: Path, rank: int, ranks: int, port: int) -> None:
    import msgspec

    from learner.config import LearnerConfig
    from learner.learner import Learner

    task = json.loads((folder / "task.json").read_text())
    config = msgspec.convert(task["config"], LearnerConfig)
    learner = Learner(task["model"], config, rank, ranks, "127.0.0.1", port, "cpu", seed=0)
    results = [_ACTIONS[name](learner, *arguments) for name, *arguments in task["actions"]]
    learner.close()
    if rank == 0:
        (folder / "results.json").write_text(json.dumps(results))


def _train(learner: Any, steps: int, count: int = 12, temperature: float = 1.0) -> list[dict[str, Any]]:
    import msgspec

    metrics = []
    for _ in range(steps):
        step = learner.steps_done
        metrics.append(learner.train_step(_samples(seed=0, count=count), step, temperature))
    return [msgspec.to_builtins(one) for one in metrics]


def _samples(seed: int, count: int) -> list[Any]:
    """Random samples of unequal length; the same for the same seed."""
    import random

    from learner.types import TrainSample

    draw = random.Random(seed)
    return [
        TrainSample(
            prompt_token_ids=tuple(draw.choices(range(VOCABULARY), k=draw.randint(4, 12))),
            completion_token_ids=(completion := tuple(draw.choices(range(VOCABULARY), k=draw.randint(2, 8)))),
            rollout_logprobs=tuple(draw.uniform(-8, -4) for _ in completion),
            advantage=1.0 if index % 2 else -1.0,
            source="standard",
            slot=index,
            min_policy_version=0,
        )
        for index in range(count)
    ]


def _dump(learner: Any, path: str) -> None:
    """Write the whole, merged weights."""
    from safetensors.torch import save_file

    tensors = {name: tensor.float().contiguous().clone() for name, tensor in learner.merged_parameters()}
    if learner.rank == 0:
        save_file(tensors, path)


def _reload(learner: Any, path: str, times: int) -> list[str]:
    """Load the starting policy again and again; names of weights that came out different from the file's."""
    import torch
    from safetensors.torch import load_file

    from learner.policy import load_policy, merged_parameters

    expected = load_file(Path(path) / "model.safetensors")
    wrong = []
    for _ in range(times):
        module = load_policy(path, learner.config, learner._strategy.get_ds_train_config(), False).model
        wrong += [name for name, tensor in merged_parameters(module) if not torch.equal(tensor, expected[name])]
    return wrong


def _spoil(learner: Any) -> None:
    """Make a weight NaN, as a diverged run does."""
    next(iter(learner.module.parameters())).data.fill_(float("nan"))


def _raises(learner: Any, name: str, *arguments: Any) -> list[str]:
    """Name and text of the exception that an action ends with; the action must fail."""
    try:
        _ACTIONS[name](learner, *arguments)
    except Exception as error:
        return [type(error).__name__, str(error)]
    raise AssertionError(f"{name} did not fail")


def _save(learner: Any, path: str, resumable: bool = True, probe: tuple[int, ...] = (1, 2, 3)) -> dict[str, Any]:
    import msgspec

    manifest = learner.save(path, {"slot": 96}, run="r", arm="a", probe_token_ids=probe, resumable=resumable)
    return msgspec.to_builtins(manifest)


_ACTIONS = {
    "train": _train,
    "dump": _dump,
    "reload": _reload,
    "spoil": _spoil,
    "raises": _raises,
    "save": _save,
    "load": lambda learner, path: learner.load(path),
    "logprobs": lambda learner, tokens: learner.logprobs(tokens),
}

if __name__ == "__main__":
    _main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
