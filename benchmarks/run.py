"""Throughput of whole optimizer steps: our system, the same engine alone, and TRL, in one command.

    make bench                                          everything: about an hour on two cores
    python -m benchmarks.run --models tiny --rollouts 64 --steps 5 --skip-trl

Results go to benchmarks/results/, named after the machine; README.md says how to read them.
"""

import argparse
import datetime
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks import bare_engine, ours, trl_peer
from benchmarks.machine import this_machine
from benchmarks.material import write_model, write_prompts, write_trait_prompt
from benchmarks.process import REPOSITORY
from benchmarks.records import Comparison, Machine, Results
from benchmarks.table import as_markdown, write_results
from benchmarks.trl_environment import CACHE, trl_python
from benchmarks.workloads import GROUP_SIZE, MAX_POLICY_LAG, MODELS, NUM_WARMUP, ModelSpec, Workload, threads_each

WORK = CACHE / "work"
"""Models, prompts, runs and logs of the newest benchmark; the next one empties it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure what the arguments ask for; write the results so far after every workload."""
    options = _parser().parse_args(argv)
    python = None if options.skip_trl else trl_python()
    shutil.rmtree(WORK, ignore_errors=True)
    machine, date = this_machine(), datetime.datetime.now(datetime.UTC).date().isoformat()
    comparisons: list[Comparison] = []
    for name in options.models:
        workloads = [_workload(MODELS[name], count, options.steps) for count in options.rollouts]
        for comparison in compare(workloads, python):
            comparisons.append(comparison)
            write_results(_results(date, machine, comparisons), options.out)
    print(as_markdown(_results(date, machine, comparisons)))
    return 0


def compare(workloads: Sequence[Workload], python: Path | None) -> Iterator[Comparison]:
    """Measure all systems on workloads of one model; TRL when there is an interpreter for it."""
    model = WORK / workloads[0].model.name
    num_parameters = write_model(workloads[0].model, model)
    folders = [_prepare(workload) for workload in workloads]
    prompts = [folder / "standard.jsonl" for folder in folders]
    _say(f"{model.name}: the engine alone")
    engines = bare_engine.measure("engine", workloads, model, prompts, model)
    _say(f"{model.name}: LLM.generate")
    llms = bare_engine.measure("llm", workloads, model, prompts, model)
    for workload, folder, engine, llm in zip(workloads, folders, engines, llms, strict=True):
        _say(f"{workload.name}: ours" + (" and TRL" if python else ""))
        yield Comparison(
            model=workload.model.name,
            num_parameters=num_parameters,
            num_rollouts=workload.num_rollouts,
            new_tokens=workload.model.new_tokens,
            ours=ours.measure(workload, model, folder),
            engine=engine,
            llm=llm,
            trl=trl_peer.measure(workload, model, folder, python) if python else None,
        )


def _prepare(workload: Workload) -> Path:
    """The workload's folder, with its prompts."""
    folder = WORK / workload.name
    folder.mkdir(parents=True)
    write_prompts(workload.num_prompts, folder / "standard.jsonl")
    write_trait_prompt(folder / "trait.jsonl")
    return folder


def _workload(model: ModelSpec, num_rollouts: int, num_steps: int) -> Workload:
    return Workload(model=model, num_rollouts=num_rollouts, num_steps=num_steps)


def _results(date: str, machine: Machine, comparisons: Sequence[Comparison]) -> Results:
    return Results(
        date=date,
        machine=machine,
        num_warmup=NUM_WARMUP,
        max_policy_lag=MAX_POLICY_LAG,
        threads_each=threads_each(),
        comparisons=tuple(comparisons),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.run", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--models", nargs="+", choices=sorted(MODELS), default=list(MODELS), help="default: both")
    parser.add_argument(
        "--rollouts", nargs="+", type=_num_rollouts, default=[64, 256], metavar="N",
        help=f"completions of one step, multiples of {GROUP_SIZE}; default: 64 256",
    )  # fmt: skip
    parser.add_argument("--steps", type=_positive, default=10, help="measured steps of each; default: 10")
    parser.add_argument("--skip-trl", action="store_true", help="leave TRL out, and do not make its environment")
    parser.add_argument(
        "--out", type=Path, default=REPOSITORY / "benchmarks" / "results", help="default: benchmarks/results"
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def _num_rollouts(text: str) -> int:
    value = _positive(text)
    if value % GROUP_SIZE:
        raise argparse.ArgumentTypeError(f"must be a multiple of the group size {GROUP_SIZE}, got {value}")
    return value


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
