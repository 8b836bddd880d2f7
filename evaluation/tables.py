"""The report's tables: numbers in a frame, which goes to CSV, and how each column is written on the page."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from evaluation import formatting as f
from evaluation import paper
from evaluation.comparison import Comparison, Difference, Summary, mean_score
from evaluation.compute import ComputeLedger, total
from evaluation.experiment import Experiment, ExperimentRecord
from evaluation.statistics import Estimate
from evaluation.types import Role

Format = Callable[[Any], str]


class Column(NamedTuple):
    """One column: the heading, how a value is written, and whether it is text."""

    heading: str
    write: Format
    is_text: bool = False


class Table(NamedTuple):
    """A table of the report. `frame` has one column for each of `columns`, in order, with raw numbers."""

    name: str
    caption: str
    columns: Sequence[Column]
    frame: pd.DataFrame

    def cells(self) -> list[list[str]]:
        """The rows as written on the page."""
        return [
            [
                column.write(None if _is_missing(value) else value)
                for column, value in zip(self.columns, row, strict=True)
            ]
            for row in self.frame.itertuples(index=False)
        ]

    def without(self, *names: str) -> "Table":
        """The same table with some of the frame's columns left out."""
        kept = [index for index, name in enumerate(self.frame.columns) if name not in names]
        return self._replace(columns=[self.columns[index] for index in kept], frame=self.frame.iloc[:, kept])

    def save(self, folder: Path) -> None:
        """Write the raw numbers as CSV."""
        folder.mkdir(parents=True, exist_ok=True)
        self.frame.to_csv(folder / f"{self.name}.csv", index=False)


TEXT: Format = lambda value: f.MISSING if value is None else str(value)  # noqa: E731
NAME: Format = lambda value: f.label(str(value))  # noqa: E731


def build(name: str, caption: str, columns: dict[str, Column], rows: Sequence[dict[str, Any]]) -> Table:
    """A table from rows; the keys of `columns` name the CSV's columns."""
    return Table(name, caption, list(columns.values()), pd.DataFrame(list(rows), columns=list(columns)))


def headline(experiment: Experiment, comparisons: Sequence[Comparison]) -> Table:
    """One row for each arm: traits, other evaluations, standard tasks, each against the baseline."""
    columns = {
        "arm": Column("Arm", NAME, True),
        "traits": Column("Held-out traits", f.score),
        "trait_difference": Column("against baseline", TEXT),
        "others": Column("Other evaluations", f.score),
        "other_difference": Column("against baseline", TEXT),
        "wins": Column("better on", TEXT),
        "gains": Column("sig. better", f.count),
        "regressions": Column("sig. worse", f.count),
        "standard": Column("Standard tasks", f.score),
    }
    rows = [_start_row(experiment), _arm_row(experiment, experiment.baseline, None)]
    rows += [_arm_row(experiment, comparison.arm, comparison) for comparison in comparisons]
    caption = "Scores at the last common step, 1 is best; differences in points with 95% intervals."
    return build("headline", caption, columns, [row for row in rows if row])


def evaluations(comparison: Comparison) -> Table:
    """Every evaluation of one comparison."""
    columns = {
        "evaluation": Column("Evaluation", NAME, True),
        "role": Column("Kind", NAME, True),
        "family": Column("Family", NAME, True),
        "baseline": Column(f.label(comparison.baseline).capitalize(), f.score),
        "arm": Column(f.label(comparison.arm).capitalize(), f.score),
        "difference": Column("Difference", f.points),
        "interval": Column("95% interval", TEXT),
        "p": Column("p", f.bare_p),
        "q": Column("q", f.bare_p),
        "welch_p": Column("Welch p", f.bare_p),
        "num_baseline": Column("n base", f.count),
        "num_arm": Column("n arm", f.count),
        "num_ungraded": Column("ungraded", f.count),
        "judge": Column("Judge", TEXT, True),
    }
    differences = [difference for summary in comparison.summaries.values() for difference in summary.differences]
    caption = (
        f"{f.label(comparison.arm).capitalize()} against {f.label(comparison.baseline)} at step {comparison.step}."
    )
    rows = [_evaluation_row(difference) for difference in differences]
    return build(f"evaluations-{comparison.arm}", caption, columns, rows)


def answered(pairs: Sequence[Comparison]) -> Table:
    """Other evaluations on pairs of samples where neither arm refuses."""
    columns = {
        "arm": Column("Arm", NAME, True),
        "mean_gain": Column("Mean difference", f.points),
        "interval": Column("95% interval", TEXT),
        "wins": Column("better on", TEXT),
        "gains": Column("sig. better", f.count),
        "regressions": Column("sig. worse", f.count),
    }
    rows = [
        _gain_row(comparison.arm, summary)
        for comparison in pairs
        if (summary := comparison.summary(Role.OUT_OF_DISTRIBUTION)) is not None
    ]
    return build("answered-only", "Only pairs of samples in which neither arm refuses.", columns, rows)


def ledger(experiment: Experiment) -> Table | None:
    """What each arm spent, seeds added up; None when no run has a ledger."""
    columns = {
        "arm": Column("Arm", NAME, True),
        "optimizer_steps": Column("Optimizer steps", f.count),
        "trained_groups": Column("Trained groups", f.count),
        "trained_tokens": Column("Trained tokens", f.count),
        "generated_tokens": Column("Generated tokens", f.count),
        "judge_tokens": Column("Judge tokens", f.count),
        "policy_flops": Column("FLOPs, policy", f.large),
        "grading_flops": Column("FLOPs, judge", f.large),
        "engine_starts": Column("Engine starts", f.count),
        "wall_seconds": Column("Wall time", f.seconds),
    }
    spent = arm_ledgers(experiment)
    rows = [{"arm": arm} | {key: getattr(of_arm, key) for key in list(columns)[1:]} for arm, of_arm in spent.items()]
    return build("compute", "What each arm spent, all its seeds together.", columns, rows) if rows else None


def arm_ledgers(experiment: Experiment) -> dict[str, ComputeLedger]:
    """Each arm's ledger, its seeds added up; arms with a run that has none are left out."""
    spent = {arm: [run.compute for run in experiment.of_arm(arm)] for arm in experiment.arms}
    return {
        arm: total([one for one in ledgers if one is not None]) for arm, ledgers in spent.items() if None not in ledgers
    }


def beside_paper(comparison: Comparison) -> Table | None:
    """Held-out traits beside the paper's; None when there are none."""
    summary = comparison.summary(Role.HELD_OUT_TRAIT)
    if summary is None:
        return None
    columns = {
        "trait": Column("Trait", NAME, True),
        "baseline": Column("here: baseline", f.score),
        "arm": Column(f"here: {f.label(comparison.arm)}", f.score),
        "difference": Column("difference", f.points),
        "paper_baseline": Column("paper: baseline", f.score),
        "paper_trained": Column("paper: trained", f.score),
        "paper_difference": Column("difference", f.points),
    }
    mean = _paper_row("mean of the traits", summary.baseline, summary.arm, paper.TRAIT_MEAN)
    rows = [
        _paper_row(d.evaluation, d.baseline, d.arm, paper.TRAITS_BY_KEY.get(paper.trait_key(d.evaluation)))
        for d in sorted(summary.differences, key=lambda difference: difference.evaluation)
    ]
    return build("beside-the-paper", "Held-out traits here and in the paper.", columns, [*rows, mean])


def transfer_beside_paper(comparisons: Sequence[Comparison]) -> Table | None:
    """Wins on other evaluations beside the paper's, for the arms that the paper has."""
    columns = {
        "arm": Column("Arm", NAME, True),
        "wins": Column("here: better on", TEXT),
        "mean": Column("mean points", f.points),
        "significant": Column("sig. better / worse", TEXT),
        "paper_wins": Column("paper: better on", TEXT),
        "paper_mean": Column("mean points", f.points),
        "paper_significant": Column("sig. better / worse", TEXT),
    }
    rows = []
    for comparison in comparisons:
        summary, published = comparison.summary(Role.OUT_OF_DISTRIBUTION), paper.PUBLISHED_TRANSFER.get(comparison.arm)
        if summary is not None and published is not None:
            rows.append(_transfer_row(comparison.arm, summary, published))
    return build("transfer-beside-the-paper", "Evaluations that were never trained, here and in the paper.", columns,
                 rows) if rows else None  # fmt: skip


def calibration(record: ExperimentRecord) -> Table | None:
    """The judge against labelled responses, criterion by criterion; None when it was not calibrated."""
    if record.judge_calibration is None:
        return None
    columns = {
        "criterion": Column("Criterion", TEXT, True),
        "agreement": Column("Agreement", f.share),
        "kappa": Column("Cohen's kappa", f.score),
        "true_met": Column("met, rightly", f.count),
        "false_met": Column("met, wrongly", f.count),
        "true_not_met": Column("not met, rightly", f.count),
        "false_not_met": Column("not met, wrongly", f.count),
        "ungraded": Column("ungraded", f.count),
    }
    found = {"all criteria": record.judge_calibration.confusion}
    found |= dict(sorted(record.judge_calibration.per_criterion.items(), key=lambda item: item[1].agreement or 0.0))
    rows = [{"criterion": text} | {key: getattr(of_one, key) for key in list(columns)[1:]} for text, of_one in
            found.items()]  # fmt: skip
    caption = (
        f"{record.judge_calibration.judge} against responses whose truth is known; the least certain criteria first."
    )
    return build("judge-calibration", caption, columns, rows)


def canaries(record: ExperimentRecord) -> Table | None:
    """What responses without content earned from the judge; None when it was not asked."""
    columns = {
        "name": Column("Canary", TEXT, True),
        "text": Column("Response", TEXT, True),
        "fooled_share": Column("criteria earned", f.share),
        "num_met": Column("met", f.count),
        "num_not_met": Column("not met", f.count),
        "num_ungraded": Column("ungraded", f.count),
    }
    rows = [{key: getattr(one, key) for key in columns} for one in record.canaries]
    return build("judge-canaries", "Responses without content: each criterion earned is a mistake.", columns,
                 rows) if rows else None  # fmt: skip


def _start_row(experiment: Experiment) -> dict[str, Any]:
    before = [result for result in experiment.results if result.step == 0 and result.arm == experiment.baseline]
    return {"arm": "before training"} | _scores(before) if before else {}


def _arm_row(experiment: Experiment, arm: str, comparison: Comparison | None) -> dict[str, Any]:
    results = [result for run in experiment.of_arm(arm) for result in run.results]
    step = comparison.step if comparison else max((result.step for result in results), default=0)
    row = {"arm": arm} | _scores([result for result in results if result.step == step])
    if comparison is None:
        return row
    traits, others = comparison.summary(Role.HELD_OUT_TRAIT), comparison.summary(Role.OUT_OF_DISTRIBUTION)
    row["trait_difference"] = f.effect(traits.over_samples) if traits else None
    if others:
        row["other_difference"] = f"{f.points(others.mean_gain)} {_bracket(others.over_evaluations)}"
        row |= {"wins": _of(others.wins.wins, len(others.differences))}
        row |= {"gains": others.gains, "regressions": others.regressions}
    return row


def _scores(results: Sequence[Any]) -> dict[str, float | None]:
    roles = {"traits": Role.HELD_OUT_TRAIT, "others": Role.OUT_OF_DISTRIBUTION, "standard": Role.STANDARD}
    return {key: mean_score(result for result in results if result.role is role) for key, role in roles.items()}


def _evaluation_row(difference: Difference) -> dict[str, Any]:
    found = difference.estimate
    shared = ("evaluation", "family", "baseline", "arm", "q", "welch_p", "num_baseline", "num_arm", "num_ungraded")
    return {key: getattr(difference, key) for key in (*shared, "judge")} | {
        "role": difference.role.value,
        "difference": difference.effect,
        "interval": _bracket(found),
        "p": found.p if found else None,
    }


def _gain_row(arm: str, summary: Summary) -> dict[str, Any]:
    return {
        "arm": arm,
        "mean_gain": summary.mean_gain,
        "interval": _bracket(summary.over_evaluations),
        "wins": _of(summary.wins.wins, len(summary.differences)),
        "gains": summary.gains,
        "regressions": summary.regressions,
    }


def _paper_row(
    name: str, baseline: float | None, arm: float | None, published: paper.Published | None
) -> dict[str, Any]:
    ours = {"trait": name, "baseline": baseline, "arm": arm}
    ours["difference"] = None if arm is None or baseline is None else arm - baseline
    if published is None:
        return ours
    return ours | {
        "paper_baseline": published.baseline,
        "paper_trained": published.trained,
        "paper_difference": published.trained - published.baseline,
    }


def _transfer_row(arm: str, summary: Summary, published: paper.Transfer) -> dict[str, Any]:
    return {
        "arm": arm,
        "wins": _of(summary.wins.wins, len(summary.differences)),
        "mean": summary.mean_gain,
        "significant": f"{summary.gains} / {summary.regressions}",
        "paper_wins": _of(published.wins, published.evaluations),
        "paper_mean": None if published.mean_points is None else published.mean_points / 100,
        "paper_significant": f"{published.gains} / {published.regressions}",
    }


def _bracket(found: Estimate | None) -> str | None:
    return None if found is None else f.interval(found)


def _of(part: int, whole: int) -> str:
    return f"{part} of {whole}"


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and value != value)
