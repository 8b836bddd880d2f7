"""What each figure of the report shows: series drawn from an experiment, and one sentence on what they don't show."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from evaluation import formatting as f
from evaluation import plots
from evaluation.comparison import Comparison, Summary
from evaluation.experiment import Experiment, RunRecord
from evaluation.plots import Bar, Palette, Panel, Series
from evaluation.statistics import Estimate, clustered_standard_error, proportion_interval
from evaluation.types import EvaluationResult, Role

WINDOW = 7
"""Steps over which training curves are averaged."""
ROLE_TITLES = {
    Role.HELD_OUT_TRAIT: "Held-out traits",
    Role.OUT_OF_DISTRIBUTION: "Other evaluations, never trained",
    Role.STANDARD: "Standard tasks, held out",
    Role.CAPABILITY: "Capability",
    Role.REFUSAL: "Harmless requests answered",
}
_ASKED = {
    Role.HELD_OUT_TRAIT: "held-out traits",
    Role.OUT_OF_DISTRIBUTION: "other evaluations",
    Role.STANDARD: "standard tasks",
    Role.CAPABILITY: "capability",
    Role.REFUSAL: "harmless requests",
}
"""Names of the rows of the refusal panel."""


class Figure(NamedTuple):
    """Panels with one caption."""

    panels: tuple[Panel, ...]
    caption: str
    """What it shows, and what it does not."""


class Pooled(NamedTuple):
    """A mean score with half its 95% interval (normal; samples of all seeds, clustered on the item)."""

    mean: float
    half: float


def checkpoints(experiment: Experiment, palette: Palette) -> Figure | None:
    """Scores of each role over the checkpoints."""
    panels = []
    for role, title in ROLE_TITLES.items():
        series = [line for arm in experiment.arms if (line := _over_checkpoints(experiment, arm, role))]
        if series:
            panels.append(plots.lines(f"checkpoints-{role.value}", title, series, palette, marks=True))
    caption = (
        "Mean score at every evaluated checkpoint, with 95% intervals over items and samples. It shows when each arm "
        "moved; the bands say nothing about other training seeds, and the scales of the panels differ."
    )
    return Figure(tuple(panels), caption) if panels else None


def traits(experiment: Experiment, comparisons: Sequence[Comparison], palette: Palette, step: int) -> Figure | None:
    """Each held-out trait by arm at one step, and the first arm's differences from the baseline."""
    rows = _bars(experiment, step, Role.HELD_OUT_TRAIT)
    if not rows:
        return None
    panels = [plots.dots("traits", "Held-out traits", rows, palette, "score", from_zero=True)]
    if comparisons and (summary := comparisons[0].summary(Role.HELD_OUT_TRAIT)):
        panels.append(_forest("trait-differences", comparisons[0], summary, summary.over_samples, palette))
    caption = (
        f"Each trait on prompts that were never trained, at step {step}, with 95% intervals. These are other prompts "
        "of the trained kind: they show that the traits were learned, not that anything generalized beyond them. "
        "Right: differences from the baseline, filled where significant after Benjamini-Hochberg; the band is the mean."
    )
    return Figure(tuple(panels), caption)


def transfer(comparisons: Sequence[Comparison], palette: Palette) -> Figure | None:
    """Differences on the evaluations that were never trained, one panel an arm."""
    panels = [
        _forest(f"transfer-{one.arm}", one, summary, summary.over_evaluations, palette)
        for one in comparisons
        if (summary := one.summary(Role.OUT_OF_DISTRIBUTION)) is not None
    ]  # fmt: skip
    caption = (
        "Differences from the baseline, sorted, with 95% intervals over items and samples; filled where significant "
        "after Benjamini-Hochberg. The dashed line and its band are the mean and its 95% interval over evaluations. A "
        "single row may move by the chance of one training run; the test of transfer is the band."
    )
    return Figure(tuple(panels), caption) if panels else None


def elsewhere(experiment: Experiment, palette: Palette, step: int) -> Figure | None:
    """Standard tasks and capability, and how often each arm refuses."""
    scores = _bars(experiment, step, Role.STANDARD) | _bars(experiment, step, Role.CAPABILITY)
    refusals = _refusals(experiment, step)
    panels = []
    if scores:
        panels.append(
            plots.dots("capability", "Standard tasks and capability", scores, palette, "score", from_zero=True)
        )
    if refusals:
        panels.append(plots.dots("refusals", "Share of responses that refuse", refusals, palette, "%", from_zero=True))
    caption = (
        f"At step {step}, with 95% intervals. Refusals are told by their wording, so that a response which evades "
        "without saying so counts as an answer."
    )
    return Figure(tuple(panels), caption) if panels else None


def rewards(experiment: Experiment, palette: Palette) -> Figure | None:
    """Reward over steps, one panel a source."""
    panels = _metric_panels(experiment, palette, "reward/", "Reward, {}")
    caption = (
        f"Mean reward of what was trained, averaged over {WINDOW} steps; thin lines are single seeds. The "
        "intervention's slots hold different prompts and rewards in each arm, so that only its own rise can be read "
        "there, not its height against another arm's."
    )
    return Figure(tuple(panels), caption) if panels else None


def mix(experiment: Experiment, palette: Palette) -> Figure | None:
    """The trained share of the intervention with its bound, the deviation in groups, and the policy lag."""
    source = next((run.config.intervention for run in experiment.runs if run.config.intervention), None)
    panels = []
    if source is not None and (series := _mean_lines(experiment, f"mix/{source.name}", window=1)):
        percent = [Series(one.arm, one.x, [100 * y for y in one.y]) for one in series]
        band = _mix_band(experiment, source.fraction)
        panels.append(plots.lines("mix", f"Trained share of {f.label(source.name)}, %", percent, palette, band=band))
    bounds = {
        "mix_deviation": ("Mix deviation, groups", 1),
        "policy_lag": ("Policy lag, versions", _max_lag(experiment)),
    }
    for key, (title, most) in bounds.items():
        if series := _mean_lines(experiment, key, window=1):
            steps = list(series[0].x)
            bound = None if most is None else (steps, [0.0] * len(steps), [float(most)] * len(steps))
            panels.append(plots.lines(key.replace("_", "-"), title, series, palette, limits=(0, None), band=bound))
    caption = (
        "What was trained, after filtering and failures. The grey bands are what is promised: the mix is never more "
        "than one group off at any step, and no trained token is older than the allowed lag. A line outside "
        "its band is a fault; a line inside says nothing about the quality of what was trained."
    )
    return Figure(tuple(panels), caption) if panels else None


def losses_of_groups(experiment: Experiment, palette: Palette) -> Figure | None:
    """Shares of groups and completions that teach nothing, one panel for each kind and source."""
    kinds = {
        "zero_variance/": "No reward variance, {}, %",
        "truncated/": "Cut off, {}, %",
        "ungraded/": "Ungraded, {}, %",
    }
    panels = [
        panel
        for prefix, title in kinds.items()
        for panel in _metric_panels(experiment, palette, prefix, title, scale=100, limits=(0, None))
    ]
    caption = (
        "Groups whose completions all earned the same, completions that hit the length limit, and completions without "
        "a grade: none of them teaches, and none is counted as a score. They show how much of the run was idle, not "
        "why."
    )
    return Figure(tuple(panels), caption) if panels else None


def optimization(experiment: Experiment, palette: Palette) -> Figure | None:
    """Loss, gradient norm, entropy, mismatch, clipping, speed."""
    keys = {
        "loss": "Loss", "grad_norm": "Gradient norm", "entropy": "Entropy, nats",
        "mismatch_kl": "Rollout/learner mismatch, nats", "clip_share": "Clipped tokens, share",
        "tokens_per_s": "Tokens per second",
    }  # fmt: skip
    found = {key: _mean_lines(experiment, key) for key in keys}
    panels = [plots.lines(f"training-{key}", keys[key], series, palette) for key, series in found.items() if series]
    caption = (
        f"The optimizer's own view, averaged over {WINDOW} steps: whether training was stable and the engines agreed "
        "with the learner. None of it says whether the model got better."
    )
    return Figure(tuple(panels), caption) if panels else None


def phases(experiment: Experiment) -> Figure | None:
    """Where the seconds of a step went."""
    rows = {f.label(arm): spent for arm in experiment.arms if (spent := _seconds(experiment, arm))}
    if not rows:
        return None
    panel = plots.stacked("seconds", "Seconds of a mean step", rows, "seconds")
    caption = (
        "Mean seconds of one optimizer step by phase. Phases that run at the same time are each counted in full, so a "
        "bar may be longer than the step took."
    )
    return Figure((panel,), caption)


def pooled(results: Iterable[EvaluationResult]) -> dict[str, Pooled]:
    """For each evaluation, the mean of all graded samples and half its 95% interval; unscored ones are left out."""
    samples: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for result in results:
        graded = [(sample.score, sample.item_id) for sample in result.samples if sample.score is not None]
        samples[result.evaluation].extend(graded)
    return {name: _pool(found) for name, found in samples.items() if found}


def _pool(found: Sequence[tuple[float, str]]) -> Pooled:
    scores, items = zip(*found, strict=True)
    stderr = clustered_standard_error(scores, items)
    return Pooled(sum(scores) / len(scores), 1.96 * stderr if stderr is not None else 0.0)


def _forest(name: str, one: Comparison, summary: Summary, mean: Estimate | None, palette: Palette) -> Panel:
    title = f"{f.label(one.arm).capitalize()} against {f.label(one.baseline)}"
    return plots.forest(name, title, summary.differences, mean, palette[one.arm])


def _over_checkpoints(experiment: Experiment, arm: str, role: Role) -> Series | None:
    results = [result for result in experiment.results if result.arm == arm and result.role is role]
    points = {
        step: list(found.values())
        for step in sorted({result.step for result in results})
        if (found := pooled(result for result in results if result.step == step))
    }
    if not points:
        return None
    means = [sum(one.mean for one in found) / len(found) for found in points.values()]
    halves = [math.sqrt(sum(one.half**2 for one in found)) / len(found) for found in points.values()]
    low = [mean - half for mean, half in zip(means, halves, strict=True)]
    high = [mean + half for mean, half in zip(means, halves, strict=True)]
    return Series(arm, list(points), means, low, high)


def _bars(experiment: Experiment, step: int, role: Role) -> dict[str, list[Bar]]:
    rows: dict[str, list[Bar]] = defaultdict(list)
    for arm in experiment.arms:
        results = [r for r in experiment.results if r.arm == arm and r.step == step and r.role is role]
        for name, found in sorted(pooled(results).items()):
            bar = Bar(arm, found.mean, found.mean - found.half, found.mean + found.half)
            rows[f.label(name)].append(bar)
    return dict(rows)


def _refusals(experiment: Experiment, step: int) -> dict[str, list[Bar]]:
    rows: dict[str, list[Bar]] = defaultdict(list)
    for role, asked in _ASKED.items():
        for arm in experiment.arms:
            flags = [
                sample.is_refusal
                for result in experiment.results
                if result.arm == arm and result.step == step and result.role is role
                for sample in result.samples
                if sample.text
            ]
            interval = proportion_interval(sum(flags), len(flags))
            if interval is not None:
                rows[asked].append(Bar(arm, 100 * sum(flags) / len(flags), 100 * interval[0], 100 * interval[1]))
    return dict(rows)


def _metric_panels(
    experiment: Experiment,
    palette: Palette,
    prefix: str,
    title: str,
    *,
    scale: float = 1.0,
    limits: tuple[float | None, float | None] = (None, None),
) -> list[Panel]:
    panels = []
    for key in _keys(experiment.runs, prefix):
        source = key.removeprefix(prefix)
        series = [one._replace(y=[scale * y for y in one.y]) for one in _mean_lines(experiment, key)]
        name = key.replace("/", "-").replace("_", "-")
        panels.append(plots.lines(name, title.format(f.label(source)), series, palette, limits=limits))
    return panels


def _keys(runs: Iterable[RunRecord], prefix: str) -> list[str]:
    """Metric names with a prefix, the intervention's last."""
    found = {key for run in runs for key in run.metrics.columns if str(key).startswith(prefix)}
    return sorted(found, key=lambda key: ("intervention" in key, key))


def _mean_lines(experiment: Experiment, key: str, window: int = WINDOW) -> list[Series]:
    """For each arm its mean over seeds, and behind it each seed when there are several."""
    behind, front = [], []
    for arm in experiment.arms:
        columns = [run.metrics[key].dropna() for run in experiment.of_arm(arm) if key in run.metrics]
        if not columns:
            continue
        smoothed = [plots.smooth(column, window) for column in columns]
        if len(smoothed) > 1 and window > 1:
            behind += [Series(arm, list(one.index), list(one), faint=True) for one in smoothed]
        mean = pd.concat(smoothed, axis=1).mean(axis=1)
        front.append(Series(arm, list(mean.index), list(mean)))
    return behind + front


def _mix_band(experiment: Experiment, fraction: float) -> tuple[list[float], list[float], list[float]] | None:
    """Steps and the bound fraction +- 1 group of all that were trained by then, in percent."""
    groups = {run.config.groups_per_step for run in experiment.runs}
    steps = max((int(run.metrics.index.max()) for run in experiment.runs if not run.metrics.empty), default=0)
    if len(groups) != 1 or not steps or not (size := groups.pop()):
        return None
    at = [float(step) for step in range(1, steps + 1)]
    low = [100 * max(0.0, fraction - 1 / (size * step)) for step in at]
    return at, low, [100 * (fraction + 1 / (size * step)) for step in at]


def _max_lag(experiment: Experiment) -> int | None:
    return max((lag for run in experiment.runs if (lag := run.config.max_policy_lag) is not None), default=None)


def _seconds(experiment: Experiment, arm: str) -> Mapping[str, float]:
    frames = [run.metrics for run in experiment.of_arm(arm) if not run.metrics.empty]
    if not frames:
        return {}
    together = pd.concat(frames)
    parts = (column for column in together.columns if str(column).startswith("seconds/"))
    columns = [column for column in parts if column != "seconds/step"]  # the whole step is no part of itself
    return {str(column).removeprefix("seconds/"): float(together[column].mean()) for column in columns}
