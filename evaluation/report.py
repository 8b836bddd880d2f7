"""Writes an experiment's report: one self-contained page, its figures and tables as files, and a summary in text."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from rich.console import Console
from rich.table import Table as TerminalTable

from evaluation import examples, figures, paper, tables
from evaluation import formatting as f
from evaluation.comparison import Comparison, compare_arms, final_step
from evaluation.compute import Match, compare
from evaluation.experiment import Experiment, read_experiment
from evaluation.figures import Figure
from evaluation.plots import ARM_COLOURS, Palette
from evaluation.store import write_atomically, write_results_csv
from evaluation.tables import Table
from evaluation.verdict import Verdict, judge_comparison

_TEMPLATES = Path(__file__).parent / "templates"


class Findings(NamedTuple):
    """All that is computed from an experiment before anything is written."""

    comparisons: list[Comparison]
    verdicts: list[Verdict]
    answered: list[Comparison]
    """The same comparisons on pairs of samples where neither arm refuses."""
    matches: list[tuple[str, Match]]
    """Each arm's compute against the baseline's."""
    problems: list[str]
    """Why an arm could not be compared."""
    step: int | None
    """The last step that all runs evaluated; None when there is none."""


def write_report(experiment_dir: Path | str) -> Path:
    """Write `<experiment>/report/`: index.html, results.csv, figures/ and tables/.

    Returns:
        The path of index.html.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: it holds no run, or a file in it can't be read.
    """
    experiment = read_experiment(experiment_dir)
    findings = find(experiment)
    folder = experiment.folder / "report"
    write_results_csv(experiment.results, folder / "results.csv")
    page = _page(experiment, findings)
    for figure in page["figures"].values():
        for panel in figure.panels if figure else ():
            panel.save(folder / "figures")
    for table in page["tables"].values():
        if table is not None:
            table.save(folder / "tables")
    path = folder / "index.html"
    write_atomically(path, _render(page).encode())
    return path


def summary_table(experiment_dir: Path | str) -> str:
    """The headline table and the verdicts as plain text, for a terminal.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: as in `write_report`.
    """
    experiment = read_experiment(experiment_dir)
    findings = find(experiment)
    table = tables.headline(experiment, findings.comparisons).without("gains", "regressions")
    console = Console(file=io.StringIO(), width=100, color_system=None)
    shown = TerminalTable(title=table.caption, title_justify="left", box=None, pad_edge=False)
    for column in table.columns:
        heading = column.heading.replace(" ", "\n")
        shown.add_column(heading, justify="left" if column.is_text else "right", no_wrap=True)
    for row in table.cells():
        shown.add_row(*row)
    console.print(shown)
    for verdict in findings.verdicts:
        console.print(f"\n{f.label(verdict.arm)}: {verdict.headline}", highlight=False)
    for arm, match in findings.matches:
        console.print(f"\nCompute of {f.label(arm)}: {match.sentence()}", highlight=False)
    for problem in (*findings.problems, *experiment.notes):
        console.print(f"\nNote: {problem}", highlight=False)
    text = console.file
    assert isinstance(text, io.StringIO)
    return text.getvalue()


def find(experiment: Experiment) -> Findings:
    """Compare every arm with the baseline. An arm that can't be compared is named in `problems`."""
    comparisons, answered, problems = [], [], []
    results = experiment.results
    for arm in experiment.arms[1:]:
        try:
            comparisons.append(compare_arms(results, experiment.baseline, arm))
            answered.append(compare_arms(results, experiment.baseline, arm, answered_only=True))
        except ValueError as problem:
            problems.append(f"{f.label(arm).capitalize()} is not compared: {problem}.")
    coupling = experiment.record.persona_coupling
    ledgers = tables.arm_ledgers(experiment)
    base = ledgers.get(experiment.baseline)
    matches = [(arm, compare(base, one)) for arm, one in ledgers.items() if base and arm != experiment.baseline]
    verdicts = [judge_comparison(comparison, coupling) for comparison in comparisons]
    return Findings(comparisons, verdicts, answered, matches, problems, _common_step(experiment))


def _common_step(experiment: Experiment) -> int | None:
    evaluated = [result for run in experiment.runs for result in run.results]
    try:
        return final_step(evaluated)
    except ValueError:
        return None


def _page(experiment: Experiment, findings: Findings) -> dict[str, Any]:
    """Everything that the template shows."""
    palette = Palette(experiment.arms)
    return {
        "title": f.label(experiment.record.name or experiment.folder.name).capitalize(),
        "subtitle": _subtitle(experiment),
        "experiment": experiment,
        "findings": findings,
        "arms": [(arm, palette.variable(arm), _description(experiment, arm)) for arm in experiment.arms],
        "figures": _figures(experiment, findings, palette),
        "tables": _tables(experiment, findings),
        "examples": examples.choose(experiment, findings.step) if findings.step is not None else [],
        "example_rule": examples.RULE,
        "paper_notes": paper.NOTES,
        "rests_on": list(_rests_on(experiment)),
        "environment": _environment(experiment),
        "is_miniature": experiment.record.persona_coupling is not None,
        "palette_size": len(ARM_COLOURS),
        "f": f,
        "palette": palette,
    }


def _figures(experiment: Experiment, findings: Findings, palette: Palette) -> dict[str, Figure | None]:
    step = findings.step
    return {
        "checkpoints": figures.checkpoints(experiment, palette),
        "traits": figures.traits(experiment, findings.comparisons, palette, step) if step is not None else None,
        "transfer": figures.transfer(findings.comparisons, palette),
        "elsewhere": figures.elsewhere(experiment, palette, step) if step is not None else None,
        "rewards": figures.rewards(experiment, palette),
        "mix": figures.mix(experiment, palette),
        "losses": figures.losses_of_groups(experiment, palette),
        "optimization": figures.optimization(experiment, palette),
        "phases": figures.phases(experiment),
    }


def _tables(experiment: Experiment, findings: Findings) -> dict[str, Table | None]:
    found: dict[str, Table | None] = {
        "headline": tables.headline(experiment, findings.comparisons),
        "answered": tables.answered(findings.answered) if findings.answered else None,
        "ledger": tables.ledger(experiment),
        "calibration": tables.calibration(experiment.record),
        "canaries": tables.canaries(experiment.record),
        "paper_traits": tables.beside_paper(findings.comparisons[0]) if findings.comparisons else None,
        "paper_transfer": tables.transfer_beside_paper(findings.comparisons),
    }
    return found | {f"evaluations:{one.arm}": tables.evaluations(one) for one in findings.comparisons}


def _subtitle(experiment: Experiment) -> str:
    steps = max((int(run.metrics.index.max()) for run in experiment.runs if not run.metrics.empty), default=0)
    parts = [f.plural(len(experiment.arms), "arm"), f.plural(len(experiment.seeds), "training seed")]
    parts.append(f.plural(steps, "optimizer step"))
    if experiment.record.persona_coupling is not None:
        world = f.label(experiment.record.world) or "miniature"
        parts.append(f"miniature world \u201c{world}\u201d, persona coupling {experiment.record.persona_coupling:g}")
    return " \u00b7 ".join(parts)


def _description(experiment: Experiment, arm: str) -> str:
    known = experiment.of_arm(arm)[0].config.arms.get(arm)
    return known.description if known else ""


def _rests_on(experiment: Experiment) -> Iterator[str]:
    """What the numbers rest on, one sentence each."""
    results = experiment.results
    seeds, arms = len(experiment.seeds), len(experiment.arms)
    yield f"{f.plural(len(experiment.runs), 'training run')}: {f.plural(arms, 'arm')}, {f.plural(seeds, 'seed')} each."
    if not results:
        return
    graded, ungraded = sum(r.num_samples for r in results), sum(r.num_ungraded for r in results)
    evaluations = len({result.evaluation for result in results})
    checkpoints = len({(result.arm, result.seed, result.step) for result in results})
    yield (
        f"{f.plural(evaluations, 'evaluation')} on {f.plural(checkpoints, 'checkpoint')}: {f.count(graded)} graded "
        f"samples; {f.count(ungraded)} could not be graded ({f.share(ungraded / max(graded + ungraded, 1), 2)}) and "
        "count nowhere as a score."
    )
    yield f"Scored by {', '.join(sorted({result.judge for result in results if result.judge}))}."
    models = sorted({run.config.model for run in experiment.runs if run.config.model})
    if models:
        yield f"Starting policy: {', '.join(models)}."


def _environment(experiment: Experiment) -> list[tuple[str, str]]:
    """What the first run says of its machine and versions."""
    return [(key, str(value)) for key, value in experiment.runs[0].environment.items() if not isinstance(value, dict)]


def _render(page: dict[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja").render(page)
