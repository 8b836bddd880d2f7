"""The engine alone, in a process of its own: what generation could do if nothing else had to be done.

A batch has the prompts of 1 + MAX_POLICY_LAG steps, because that is how many the run may have under way at once.
Run as a program, it takes a task's JSON file and writes measurements, in the order of the task's workloads.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from benchmarks.process import run_process
from benchmarks.records import Measurement
from benchmarks.workloads import GROUP_SIZE, MAX_POLICY_LAG, Workload, engine_config, require_lengths
from rollout.config import EngineConfig
from rollout.engine_environment import engine_environment
from rollout.types import GenerateRequest, Prompt, SamplingConfig

TIMEOUT_S = 3600.0
NUM_WARMUP_BATCHES = 1

Kind = Literal["engine", "llm"]
Batch = Sequence[Prompt]
GenerateBatch = Callable[[Batch, int], Awaitable[list[int]]]
"""Takes prompts and the new tokens of each completion; gives the lengths of all completions."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What a process of this module does."""

    kind: Kind
    model: str
    workloads: tuple[Workload, ...]
    prompts: tuple[str, ...]
    """For each workload, the JSONL file of its prompts."""
    engine: EngineConfig
    answer: str
    """Where the measurements go."""


def measure(
    kind: Kind, workloads: Sequence[Workload], model: Path, prompts: Sequence[Path], folder: Path
) -> list[Measurement]:
    """Measure one kind of engine on several workloads of one model; its files go to `folder`.

    Raises:
        RuntimeError: the process failed.
    """
    answer, task_file = folder / f"{kind}-answer.json", folder / f"{kind}-task.json"
    task = Task(
        kind=kind,
        model=str(model),
        workloads=tuple(workloads),
        prompts=tuple(map(str, prompts)),
        engine=engine_config(),
        answer=str(answer),
    )
    task_file.write_bytes(msgspec.json.encode(task))
    command = [sys.executable, "-m", "benchmarks.bare_engine", str(task_file)]
    run_process(command, folder / f"{kind}.log", TIMEOUT_S, engine_environment(task.engine, "cpu"))
    return msgspec.json.decode(answer.read_bytes(), type=list[Measurement])


async def run_task(task: Task) -> list[Measurement]:
    """Start the engine once and measure all workloads on it."""
    generate, stop = await (_start_engine(task) if task.kind == "engine" else _start_llm(task))
    try:
        return [
            await _measure(generate, workload, _read(path))
            for workload, path in zip(task.workloads, task.prompts, strict=True)
        ]
    finally:
        stop()


async def _measure(generate: GenerateBatch, workload: Workload, prompts: list[Prompt]) -> Measurement:
    size = (1 + MAX_POLICY_LAG) * workload.groups_per_step
    num_batches = NUM_WARMUP_BATCHES + max(1, workload.num_steps // (1 + MAX_POLICY_LAG))
    seconds, lengths = [], []
    for start in range(0, num_batches * size, size):
        began = time.perf_counter()
        lengths.append(await generate(prompts[start : start + size], workload.model.new_tokens))
        seconds.append(time.perf_counter() - began)
    measured = [length for batch in lengths[NUM_WARMUP_BATCHES:] for length in batch]
    expected = (num_batches - NUM_WARMUP_BATCHES) * size * GROUP_SIZE
    return Measurement(
        step_seconds=tuple(seconds[NUM_WARMUP_BATCHES:]),
        num_samples=require_lengths(measured, workload, expected, "the bare engine"),
        num_tokens=sum(measured),
    )


async def _start_engine(task: Task) -> tuple[GenerateBatch, Callable[[], None]]:
    from rollout.vllm_engine import VllmEngine

    engine = await VllmEngine.start("engine", task.model, task.engine, "cpu")

    async def generate(batch: Batch, new_tokens: int) -> list[int]:
        sampling = SamplingConfig(max_tokens=new_tokens, num_samples=GROUP_SIZE)
        requests = [
            GenerateRequest(request_id=prompt.prompt_id, messages=prompt.messages, sampling=sampling, deadline_s=600.0)
            for prompt in batch
        ]
        results = await asyncio.gather(*map(engine.generate, requests))
        return [len(output.token_ids) for result in results for output in result.outputs]

    return generate, engine.stop


async def _start_llm(task: Task) -> tuple[GenerateBatch, Callable[[], None]]:
    from vllm import LLM, SamplingParams

    llm = LLM(
        model=task.model,
        dtype=task.engine.dtype,
        max_model_len=task.engine.max_model_len,
        max_num_seqs=task.engine.max_num_seqs,
        kv_cache_memory_bytes=int(task.engine.kv_cache_gib * 2**30),
        enforce_eager=True,
    )

    async def generate(batch: Batch, new_tokens: int) -> list[int]:
        conversations: list[Any] = [msgspec.to_builtins(prompt.messages) for prompt in batch]
        results = llm.chat(conversations, SamplingParams(n=GROUP_SIZE, max_tokens=new_tokens), use_tqdm=False)
        return [len(output.token_ids) for result in results for output in result.outputs]

    return generate, lambda: None


def _read(path: str) -> list[Prompt]:
    from scenarios.jsonl import read_prompts

    return list(read_prompts(path))


def main() -> None:
    """Do the task whose JSON file is the only argument."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    task = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Task)
    Path(task.answer).write_bytes(msgspec.json.encode(asyncio.run(run_task(task))))


if __name__ == "__main__":
    main()
