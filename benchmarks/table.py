"""Results as files: JSON with every step's seconds, and Markdown tables of the means."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from benchmarks.records import Comparison, Machine, Measurement, Results

PHASES = {
    "step": "step",
    "generate_and_grade": "generation and grading",
    "train": "training",
    "sync": "sync",
    "wait": "waiting for rollouts",
}
"""Phases as the system names them (`seconds/...` of its metrics), and as the table does."""


def write_results(results: Results, folder: Path) -> None:
    """Write <machine>.json and <machine>.md to a folder, in place of older ones."""
    folder.mkdir(parents=True, exist_ok=True)
    name = machine_name(results.machine)
    encoded = msgspec.json.format(msgspec.json.encode(results), indent=2)
    (folder / f"{name}.json").write_bytes(encoded + b"\n")
    (folder / f"{name}.md").write_text(as_markdown(results), encoding="utf-8")


def machine_name(machine: Machine) -> str:
    """A file name for a machine: its processor and the number of its cores."""
    words = re.sub(r"[^a-z0-9]+", "-", machine.cpu.lower()).strip("-")
    return f"{words}-{machine.cores}-cores"


def as_markdown(results: Results) -> str:
    """Both tables, with what is needed to read them."""
    parts = [_heading(results), _throughput(results.comparisons), _phases(results.comparisons)]
    return "\n\n".join(parts) + "\n"


def _heading(results: Results) -> str:
    machine = results.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return (
        f"# {machine.cpu}, {machine.cores} cores, {machine.memory_gib:g} GiB, {results.date}\n\n"
        f"{versions}. Groups of 8; every completion has exactly the new tokens given. Our engine, our learner and the "
        f"bare engines have {results.threads_each} thread(s) each, TRL has {machine.cores}. Ours generates at most "
        f"{results.max_policy_lag} version(s) ahead; TRL generates and trains in turn. Means over the steps given, "
        f"after {results.num_warmup} warm-up steps."
    )


def _throughput(comparisons: Iterable[Comparison]) -> str:
    header = (
        "model", "parameters", "rollouts a step", "new tokens", "system", "measured", "samples/s", "tokens/s",
        "ours / it",
    )  # fmt: skip
    rows = [row for comparison in comparisons for row in _systems(comparison)]
    return "## Throughput\n\n" + _table(header, rows)


def _systems(comparison: Comparison) -> list[tuple[str, ...]]:
    shape = (
        comparison.model,
        f"{comparison.num_parameters / 1e6:.1f} M",
        str(comparison.num_rollouts),
        str(comparison.new_tokens),
    )
    systems: dict[str, tuple[Measurement | None, str]] = {
        "**ours, end to end**": (comparison.ours.total, "steps"),
        "TRL GRPOTrainer": (comparison.trl, "steps"),
        "our engine alone": (comparison.engine, "batches"),
        "vLLM's `LLM.generate`": (comparison.llm, "batches"),
    }
    ours = comparison.ours.total.tokens_per_s
    return [(*shape, name, *_figures(one, unit, ours)) for name, (one, unit) in systems.items() if one is not None]


def _figures(one: Measurement, unit: str, ours: float) -> tuple[str, ...]:
    ratio = f"{ours / one.tokens_per_s:.2f}"
    return f"{one.num_steps} {unit}", f"{one.samples_per_s:,.1f}", f"{one.tokens_per_s:,.0f}", ratio


def _phases(comparisons: Iterable[Comparison]) -> str:
    header = ("model", "rollouts a step", *PHASES.values(), "start", "measured")
    rows = [
        (
            comparison.model,
            str(comparison.num_rollouts),
            *(f"{comparison.ours.phases.get(phase, 0.0):.2f} s" for phase in PHASES),
            f"{comparison.ours.start_seconds:.0f} s",
            f"{comparison.ours.total.num_steps} steps",
        )
        for comparison in comparisons
    ]
    explained = (
        "Mean seconds of a step in which a phase was under way. Generation goes on during training and sync, so the "
        "phases add up to more than the step: training, sync and waiting are its parts. Start is from the command to "
        "the first step."
    )
    return f"## Where our time goes\n\n{explained}\n\n" + _table(header, rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
