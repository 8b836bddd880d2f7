"""The report's figures: small panels that a page lays out side by side on a desk and one below another on a phone.

Colours are written as plain hexadecimal values, so that the saved files stand alone; inside the page each becomes
a CSS variable, so that the same drawing follows the light or the dark scheme.
"""

import io
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import MaxNLocator

from evaluation import formatting as f
from evaluation.comparison import Difference
from evaluation.statistics import Estimate

INK, SOFT, RULE, BAND = "#20242b", "#5b626d", "#d4d6d9", "#e3e5e8"
ARM_COLOURS = ("#6a7078", "#0072b3", "#d55e01", "#009e74", "#b8568f", "#a8740c", "#3a96c9")
"""Of the baseline, then of the other arms in order; from Okabe and Ito's palette for all kinds of colour vision."""
PART_COLOURS = ("#274b6d", "#4f7ea3", "#86abc7", "#b9ced9", "#c8b48c", "#92856b")
"""Of the parts of a stacked bar: unlike the arms', so that neither is taken for the other."""
VARIABLES = {
    INK: "--ink", SOFT: "--soft", RULE: "--rule", BAND: "--band",
    **{colour: f"--arm-{index}" for index, colour in enumerate(ARM_COLOURS)},
    **{colour: f"--part-{index}" for index, colour in enumerate(PART_COLOURS)},
}  # fmt: skip
_STYLE: Any = {
    "font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 10, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.titlepad": 9, "axes.labelsize": 9, "axes.labelcolor": SOFT,
    "axes.edgecolor": RULE, "axes.linewidth": 0.8, "axes.spines.top": False, "axes.spines.right": False,
    "axes.titlecolor": INK, "xtick.color": RULE, "ytick.color": RULE, "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT, "xtick.labelsize": 8.5, "ytick.labelsize": 8.5, "grid.color": RULE,
    "grid.linewidth": 0.5, "text.color": INK, "lines.linewidth": 1.7, "lines.solid_capstyle": "round",
    "svg.fonttype": "none", "figure.constrained_layout.use": True,
}  # fmt: skip
_WIDTH, _HEIGHT = 3.7, 2.5
P = ParamSpec("P")


class Series(NamedTuple):
    """A line with an optional interval."""

    arm: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    faint: bool = False
    """True for what stands behind the line that is read: single seeds behind their mean."""


class Bar(NamedTuple):
    """One arm's value of one row of a dot plot."""

    arm: str
    value: float
    low: float
    high: float


class Panel(NamedTuple):
    """One drawing."""

    name: str
    title: str
    canvas: Canvas
    svg: str
    """The drawing on no background, in plain colours."""

    def inline(self) -> str:
        """The drawing as SVG for the page: colours as CSS variables, ids that can't collide, no prologue."""
        svg = self.svg
        svg = re.sub(r"<g id=\"[^\"]*\"", "<g", svg[svg.index("<svg") :])
        svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
        svg = re.sub(r"(<svg[^>]*?) width=\"[^\"]*pt\"", r"\1", svg, count=1)
        svg = re.sub(r"(<svg[^>]*?) height=\"[^\"]*pt\"", r"\1", svg, count=1)
        for colour, variable in VARIABLES.items():
            svg = svg.replace(colour, f"var({variable})")
        return svg.replace("<svg", f'<svg role="img" aria-label="{_escaped(self.title)}"', 1)

    def save(self, folder: Path) -> None:
        """Write the drawing as SVG and PNG, for use outside the page."""
        folder.mkdir(parents=True, exist_ok=True)
        on_white = re.sub(r"(<svg[^>]*>)", r'\1<rect width="100%" height="100%" fill="white"/>', self.svg, count=1)
        (folder / f"{self.name}.svg").write_text(on_white, encoding="utf-8")
        with matplotlib.rc_context(_STYLE):
            self.canvas.savefig(folder / f"{self.name}.png", dpi=160, facecolor="white")


class Palette:
    """Gives every arm its colour."""

    def __init__(self, arms: Sequence[str]) -> None:
        self._colours = {arm: ARM_COLOURS[min(i, len(ARM_COLOURS) - 1)] for i, arm in enumerate(arms)}

    def __getitem__(self, arm: str) -> str:
        return self._colours[arm]

    def variable(self, arm: str) -> str:
        """The CSS variable of an arm's colour."""
        return VARIABLES[self[arm]]


def _styled(draw: Callable[P, Panel]) -> Callable[P, Panel]:
    """Draw under the report's style and leave matplotlib's global settings as they were."""

    @wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> Panel:
        with matplotlib.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return inside


@_styled
def lines(
    name: str,
    title: str,
    series: Sequence[Series],
    palette: Palette,
    *,
    limits: tuple[float | None, float | None] = (None, None),
    xlabel: str = "optimizer step",
    band: tuple[Sequence[float], Sequence[float], Sequence[float]] | None = None,
    marks: bool = False,
) -> Panel:
    """Lines over steps, one colour an arm; `band` is an area (x, low, high) behind them."""
    canvas, axes = _canvas(title)
    if band is not None:
        axes.fill_between(*band, color=BAND, linewidth=0)
        axes.margins(y=0.12)
    for one in series:
        _line(axes, one, palette[one.arm], marks)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.set_xlabel(xlabel)
    axes.set_ylim(*limits)
    if limits[0] == 0 and band is None and not any(any(one.y) for one in series):
        axes.set_ylim(0, 1)  # all zero: a scale of its own would be noise
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    return _finish(name, title, canvas)


@_styled
def dots(
    name: str, title: str, rows: Mapping[str, Sequence[Bar]], palette: Palette, xlabel: str, *, from_zero: bool = False
) -> Panel:
    """One row for each key, one dot with its interval for each arm."""
    tallest = max(len(bars) for bars in rows.values())
    canvas, axes = _canvas(title, height=0.95 + len(rows) * (0.2 + 0.11 * tallest), width=4.3)
    for place, bars in enumerate(rows.values()):
        offsets = (np.arange(len(bars)) - (len(bars) - 1) / 2) * 0.52 / max(tallest - 1, 1)
        for offset, bar in zip(offsets if len(bars) > 1 else [0.0], bars, strict=True):
            _dot(axes, place + float(offset), bar.value, bar.low, bar.high, palette[bar.arm])
    _rows(axes, list(rows), xlabel)
    if from_zero:
        axes.set_xlim(left=0)
    return _finish(name, title, canvas)


@_styled
def forest(name: str, title: str, differences: Sequence[Difference], mean: Estimate | None, colour: str) -> Panel:
    """Differences with 95% intervals in the given order, filled where significant; `mean` as a line and a band."""
    known = [difference for difference in differences if difference.effect is not None]
    canvas, axes = _canvas(title, height=1.15 + 0.23 * len(known), width=4.3)
    axes.axvline(0, color=SOFT, linewidth=0.9)
    for place, difference in enumerate(known):
        _forest_row(axes, place, difference, colour)
    if mean is not None:
        axes.axvspan(100 * mean.low, 100 * mean.high, color=colour, alpha=0.12, linewidth=0)
        axes.axvline(100 * mean.effect, color=colour, linewidth=1, linestyle=(0, (4, 3)))
    _rows(axes, [f.label(difference.evaluation) for difference in known], "difference, points")
    return _finish(name, title, canvas)


@_styled
def stacked(name: str, title: str, rows: Mapping[str, Mapping[str, float]], xlabel: str) -> Panel:
    """One horizontal bar for each row, cut into named parts."""
    parts = list(dict.fromkeys(part for row in rows.values() for part in row))
    canvas, axes = _canvas(title, height=1.05 + 0.34 * len(rows), width=4.3)
    for place, row in enumerate(rows.values()):
        left = 0.0
        for part, shade in zip(parts, itertools.cycle(PART_COLOURS), strict=False):
            axes.barh(place, row.get(part, 0.0), left=left, height=0.62, color=shade, linewidth=0, label=part)
            left += row.get(part, 0.0)
    handles, labels = axes.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    canvas.legend(unique.values(), unique.keys(), loc="outside lower left", ncols=3, frameon=False, fontsize=8.5,
                  labelcolor=SOFT, handlelength=1.0, columnspacing=1.2)  # fmt: skip
    _rows(axes, list(rows), xlabel)
    return _finish(name, title, canvas)


def smooth(values: pd.Series, window: int) -> pd.Series:
    """Centred rolling mean over at most `window` steps."""
    return values.rolling(window, min_periods=1, center=True).mean()


def _canvas(title: str, width: float = _WIDTH, height: float = _HEIGHT) -> tuple[Canvas, Axes]:
    canvas = Canvas(figsize=(width, height))
    axes = canvas.add_subplot()
    axes.set_title(title)
    axes.tick_params(length=3)
    return canvas, axes


def _finish(name: str, title: str, canvas: Canvas) -> Panel:
    """Draw once, and keep that layout for every other format."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        canvas.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    canvas.set_layout_engine("none")
    return Panel(name, title, canvas, buffer.getvalue())


def _line(axes: Axes, one: Series, colour: str, marks: bool) -> None:
    if len(one.low):
        axes.fill_between(one.x, one.low, one.high, color=colour, alpha=0.16, linewidth=0)
    width, alpha = (0.7, 0.45) if one.faint else (1.8, 1.0)
    axes.plot(one.x, one.y, color=colour, linewidth=width, alpha=alpha, marker="o" if marks else None, markersize=3.6)


def _dot(axes: Axes, place: float, value: float, low: float, high: float, colour: str, filled: bool = True) -> None:
    axes.plot([low, high], [place, place], color=colour, linewidth=1.5, alpha=0.75)
    axes.plot([value], [place], "o", markersize=5.4, color=colour, markeredgewidth=1.4,
              markerfacecolor=colour if filled else "none")  # fmt: skip


def _forest_row(axes: Axes, place: int, difference: Difference, colour: str) -> None:
    effect, found = 100 * (difference.effect or 0.0), difference.estimate
    low, high = (effect, effect) if found is None else (100 * found.low, 100 * found.high)
    _dot(axes, place, effect, low, high, colour, filled=difference.is_gain or difference.is_regression)


def _rows(axes: Axes, labels: Sequence[str], xlabel: str) -> None:
    axes.set_yticks(range(len(labels)), labels, color=INK)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    axes.set_xlabel(xlabel)
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
