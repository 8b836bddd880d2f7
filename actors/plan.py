"""What a configuration will do, worked out before anything is started: `--dry-run`.

The part that matters most is what each arm will train on (plan_data). A known attempt failed on too few
trait prompts, with 71% of its completions cut off and more than half of its steps without gradient: the
first can be counted beforehand, the others are watched while a run goes on.
"""

import math
from collections import Counter
from collections.abc import Sequence

import msgspec
from rich.console import Console
from rich.table import Table

from actors.config import Config
from actors.data import RunData, load_data
from actors.memory import MemoryLine, ModelShape, engine_memory, learner_memory, shape_of
from actors.placement import Bundle, bundles
from actors.plan_data import TraitRow, arm_rows, data_warnings

MIN_REAL_TOKENS = 512
"""Completion limit below which a real model's answers are often cut off (71% in the failed attempt)."""

MINIATURE_NOTE = (
    "the miniature's models have about 1 M parameters: memory is that of the processes, about 3 GB an engine "
    "and 1 GB a learner rank"
)


class TokenTotals(msgspec.Struct, frozen=True, kw_only=True):
    """Upper bounds for one run: every completion at its limit, every prompt at the context that is left."""

    num_completions: int
    generated: int
    """Most tokens sampled."""
    trained: int
    """Most tokens through the learner."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that `--dry-run` prints."""

    runs: tuple[str, ...]
    """"arm, seed k" of every run, in order."""
    config: Config
    bundles: tuple[Bundle, ...]
    memory: tuple[MemoryLine, ...]
    notes: tuple[str, ...]
    tokens: TokenTotals
    rows: tuple[TraitRow, ...]
    num_evaluation_samples: int
    """Completions that the evaluators sample on each checkpoint."""
    num_checkpoints: int
    """Checkpoints of each run that are evaluated, the one before training included."""
    warnings: tuple[str, ...]


def make_plan(config: Config, *, experiment: bool) -> Plan:
    """Work out the plan of an experiment, or of the one run of `config.arm` and `config.seed`.

    Raises:
        ValueError: the data cannot be read, or an arm finds no prompts in it.
    """
    arms = config.experiment.arms if experiment else (config.arm,)
    seeds = config.experiment.seeds if experiment else (config.seed,)
    data = load_data(config.data)
    rows = tuple(row for arm in arms for row in arm_rows(config, arm, data))
    memory, notes = _memory(config)
    wanted = set(config.evaluation.names)
    evaluations = [entry for entry in data.evaluations if not wanted or entry.name in wanted]
    most = config.evaluation.max_items
    sizes = [min(len(e.items), most) if most else len(e.items) for e in evaluations]
    warnings = [*data_warnings(config, arms, rows), *_run_warnings(config), *_evaluation_warnings(config, data)]
    return Plan(
        runs=tuple(f"{arm}, seed {seed}" for arm in arms for seed in seeds),
        config=config,
        bundles=bundles(config),
        memory=tuple(memory),
        notes=tuple(notes),
        tokens=token_totals(config),
        rows=rows,
        num_evaluation_samples=sum(
            size * evaluation.num_samples for size, evaluation in zip(sizes, evaluations, strict=True)
        ),
        num_checkpoints=0 if not config.evaluation.num_evaluators else _num_checkpoints(config),
        warnings=tuple(warnings),
    )


def _num_checkpoints(config: Config) -> int:
    every, steps = config.evaluation.every_steps, config.steps
    return 1 + steps // every + (1 if steps % every else 0)


def token_totals(config: Config) -> TokenTotals:
    """The most tokens that one run can generate and train."""
    completions = config.steps * config.groups_per_step * config.rollout.sampling.num_samples
    return TokenTotals(
        num_completions=completions,
        generated=completions * config.rollout.sampling.max_tokens,
        trained=completions * config.rollout.engine.max_model_len,
    )


def _memory(config: Config) -> tuple[list[MemoryLine], list[str]]:
    policy, judge = shape_of(config.model), shape_of(config.grading.model)
    lines: list[MemoryLine] = []
    if policy is not None:
        lines += learner_memory(policy, config.learner)
        lines += engine_memory("rollout engine, a GPU", policy, config.rollout.engine)
        if config.evaluation.num_evaluators:
            lines += engine_memory("evaluator, a GPU", policy, config.evaluation.engine)
    if judge is not None:
        lines += engine_memory("grader engine, a GPU", judge, config.grading.engine)
    return lines, [*_memory_notes("model", config.model, policy), *_memory_notes("judge", config.grading.model, judge)]


def _memory_notes(role: str, model: str, shape: ModelShape | None) -> list[str]:
    if shape is None and model == "miniature":
        return [MINIATURE_NOTE] if role == "model" else []
    if shape is None:
        return [f"{role} {model}: no config.json on this machine and no size in the name, so no estimate"]
    if not shape.num_layers:
        return [f"{role} {model}: from {shape.origin}; key-value cache and activations need its config.json"]
    return [f"{role} {model}: {shape.num_parameters / 1e9:.2f} B parameters, from {shape.origin}"]


def _run_warnings(config: Config) -> list[str]:
    warnings = []
    share = next(source.fraction for source in config.mix.sources if source.intervention)
    if 0 < share * config.groups_per_step < 1:
        warnings.append(
            f"some steps train no intervention group: {share:g} of {config.groups_per_step} groups is "
            f"{share * config.groups_per_step:.2f} a step; raise groups_per_step to {math.ceil(1 / share)}"
        )
    sampling = config.rollout.sampling
    if config.model != "miniature" and sampling.max_tokens < MIN_REAL_TOKENS:
        warnings.append(
            f"rollout.sampling.max_tokens = {sampling.max_tokens} will cut off many answers (71% in a known failed "
            f"attempt); {MIN_REAL_TOKENS} or more is advised, and the display shows the truncated share"
        )
    if config.learner.micro_batch_tokens < config.rollout.engine.max_model_len:
        warnings.append(
            f"learner.micro_batch_tokens = {config.learner.micro_batch_tokens} is less than one sequence of "
            f"rollout.engine.max_model_len = {config.rollout.engine.max_model_len} tokens"
        )
    if config.data.kind == "jsonl" and "miniature" in (config.model, config.grading.model):
        warnings.append("the miniature's models know the miniature world's language only, not that of JSONL data")
    if config.grading.model == "miniature" and config.grading.template != "miniature":
        warnings.append('the miniature judge was trained on its own prompt: set grading.template = "miniature"')
    if config.cluster.device == "cuda" and config.sync.backend == "gloo" and not config.cluster.share_gpu:
        warnings.append('sync.backend = "gloo" moves weights through host memory; "nccl" is faster between GPUs')
    return warnings


def _evaluation_warnings(config: Config, data: RunData) -> list[str]:
    known = {evaluation.name for evaluation in data.evaluations}
    missing = [name for name in config.evaluation.names if name not in known]
    warnings = []
    if missing:
        warnings.append(f"evaluation.names: the data has no {', '.join(missing)}; there are {', '.join(sorted(known))}")
    if config.evaluation.num_evaluators and not data.evaluations:
        warnings.append(
            "there are evaluators and no evaluations: set data.evaluations, or evaluation.num_evaluators = 0"
        )
    return warnings


def print_plan(plan: Plan, console: Console) -> None:
    """Print the plan for a person."""
    config = plan.config
    console.print(f"[bold]{config.name}[/bold]: a plan; nothing is started. Runs: {'; '.join(plan.runs)}")
    console.print(_scale_words(plan), highlight=False)
    console.print(_data_table(plan.rows))
    console.print(_placement_table(plan.bundles))
    if plan.memory:
        console.print(_memory_table(plan.memory))
    for note in plan.notes:
        console.print(f"  memory: {note}", style="dim", markup=False, highlight=False)
    for warning in plan.warnings:
        console.print(f"WARNING {warning}", style="yellow", markup=False, highlight=False)
    if not plan.warnings:
        console.print("No warnings.", style="green")


def _scale_words(plan: Plan) -> str:
    config, tokens = plan.config, plan.tokens
    sampling = config.rollout.sampling
    return (
        f"each run: {config.steps} steps of {config.groups_per_step} groups of {sampling.num_samples} = "
        f"{tokens.num_completions:,} completions; at most {tokens.generated:,} generated and {tokens.trained:,} "
        f"trained tokens; policy lag at most {config.max_policy_lag}\n"
        f"evaluation: {plan.num_evaluation_samples:,} samples on each of {plan.num_checkpoints} checkpoints a run"
    )


def _data_table(rows: Sequence[TraitRow]) -> Table:
    table = Table("arm", "source", "trait", title="What each arm trains", title_justify="left")
    for heading in ("prompts", "groups", "completions", "verdicts"):
        table.add_column(heading, justify="right")
    arm = ""
    for row in rows:
        table.add_row(
            "" if row.arm == arm else row.arm,
            row.source,
            row.trait or "(standard)",
            *(f"{n:,}" for n in (row.num_prompts, row.num_groups, row.num_completions, row.num_verdicts)),
            end_section=row is rows[-1],
        )
        arm = row.arm
    return table


def _placement_table(wanted: Sequence[Bundle]) -> Table:
    """Bundles of one kind on one row."""
    table = Table("actor", title="Actors (one placement bundle each)", title_justify="left")
    for heading in ("count", "CPUs each", "GPUs each"):
        table.add_column(heading, justify="right")
    kinds = Counter((bundle.actor.rpartition("-")[0], bundle.cpus, bundle.gpus) for bundle in wanted)
    for (kind, cpus, gpus), count in kinds.items():
        table.add_row(kind, str(count), f"{cpus:g}", f"{gpus:g}")
    cpus, gpus = sum(bundle.cpus for bundle in wanted), sum(bundle.gpus for bundle in wanted)
    table.add_row("together", str(len(wanted)), f"{cpus:g}", f"{gpus:g}", style="bold")
    return table


def _memory_table(lines: Sequence[MemoryLine]) -> Table:
    table = Table("actor", "part", title="Memory estimate (formulas: actors/memory.py)", title_justify="left")
    table.add_column("GiB", justify="right")
    actor = ""
    for line in lines:
        table.add_row("" if line.actor == actor else line.actor, line.part, f"{line.gib:.2f}")
        actor = line.actor
    return table
