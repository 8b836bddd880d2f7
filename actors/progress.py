"""What a person sees while a run is under way: a live display, or plain lines where there is no terminal.

A pure consumer: it is told figures (flat keys such as "reward/standard"), evaluation results and notes,
and never asks anything of anyone. Figures that it does not know are left to metrics.jsonl.
"""

import time
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from actors.config import Config
from evaluation.types import EvaluationResult

BLOCKS = "▁▂▃▄▅▆▇█"
HISTORY = 40
"""Steps that a sparkline shows."""
NUM_NOTES = 4
"""Notes that stay on the display."""
NUM_EVALUATIONS = 14
"""Evaluations that fit on the display; the rest are counted."""
PLAIN_INTERVAL_S = 5.0
"""Least time between two lines of figures where there is no terminal."""

FIGURES: tuple[tuple[str, str, str], ...] = (
    ("policy_lag", "policy lag", "{:.0f}"),
    ("mix_deviation", "mix off by", "{:.2f} groups"),
    ("tokens_per_s", "tokens/s", "{:,.0f}"),
    ("loss", "loss", "{:+.4f}"),
    ("grad_norm", "gradient norm", "{:.3f}"),
    ("entropy", "entropy", "{:.3f} nats"),
    ("mismatch_kl", "mismatch KL", "{:.5f} nats"),
    ("clip_share", "clipped", "{:.1%}"),
    ("ungraded_share", "verdicts ungraded", "{:.1%}"),
    ("cache_hit_share", "verdicts cached", "{:.0%}"),
    ("fleet/serving", "engines serving", "{:.0f}"),
    ("fleet/deaths", "engines died", "{:.0f}"),
    ("evaluation_lag", "evaluation lag", "{:.0f} steps"),
)
"""Key, words and format of the figures without a label."""

SOURCE_SHARES: tuple[tuple[str, str], ...] = (
    ("zero_variance", "no signal"),
    ("truncated", "truncated"),
    ("ungraded", "ungraded"),
)
"""Shares of each source that are shown beside its reward, red when they are worrying."""


def sparkline(values: "deque[float] | list[float]") -> str:
    """The values as a row of small bars, lowest to highest of their own range.

    >>> sparkline([0, 1, 2, 3])
    '▁▃▆█'
    """
    if not values:
        return ""
    low, high = min(values), max(values)
    if high - low < 1e-9:
        return BLOCKS[3] * len(values)
    top = len(BLOCKS) - 1
    return "".join(BLOCKS[round((value - low) / (high - low) * top)] for value in values)


def duration(seconds: float) -> str:
    """Seconds in words: "42 s", "3 min 05 s", "2 h 07 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


class Progress:
    """The display of one run. Use it as a context manager.

    Args:
        config: The run; its arm, seed and number of steps are shown.
        position: Where the run stands among others, e.g. "run 1 of 4".
        console: Where to draw; stderr by default, so that stdout stays free for results.
    """

    def __init__(self, config: Config, position: str = "", console: Console | None = None) -> None:
        self._config, self._position = config, position
        self._console = console or Console(stderr=True)
        self._started = self._last_line = time.monotonic()
        self._first_step: int | None = None
        self._last_step_said = 0
        self._latest: dict[str, float] = {}
        self._rewards: dict[str, deque[float]] = {}
        self._first_scores: dict[str, float] = {}
        self._scores: dict[str, tuple[int, float | None]] = {}
        self._others: dict[str, int] = {}
        self._notes: deque[str] = deque(maxlen=NUM_NOTES)
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=4)
            self._live.start()
        else:
            self._say(f"{self._title()}: {self._config.steps} steps of {self._config.groups_per_step} groups")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        elif self._latest.get("step", 0) != self._last_step_said:
            self._say(self._line())

    def update(self, metrics: Mapping[str, float]) -> None:
        """Show the figures of an optimizer step; keys that are missing keep their last value."""
        self._latest.update(metrics)
        step = int(self._latest.get("step", 0))
        if self._first_step is None:
            self._first_step = step
        for key, value in metrics.items():
            name, _, source = key.partition("/")
            if name == "reward" and source:
                self._rewards.setdefault(source, deque(maxlen=HISTORY)).append(value)
        now = time.monotonic()
        due = now - self._last_line >= PLAIN_INTERVAL_S or step in (self._first_step, self._config.steps)
        if self._live is None and due:
            self._last_line, self._last_step_said = now, step
            self._say(self._line())

    def evaluation(self, result: EvaluationResult) -> None:
        """Show an evaluation's result against the same evaluation before training.

        Evaluations do not hold up training, so results of an earlier run may still come in: these are counted.
        """
        if (result.arm, result.seed) != (self._config.arm, self._config.seed):
            self._count_other(result)
            return
        if result.step == 0 and result.score is not None:
            self._first_scores[result.evaluation] = result.score
        newest = self._scores.get(result.evaluation)
        if newest is None or result.step >= newest[0]:
            self._scores[result.evaluation] = (result.step, result.score)
        if self._live is None:
            self._say(f"  evaluation {result.evaluation} at step {result.step}: {self._score_words(result.evaluation)}")

    def _count_other(self, result: EvaluationResult) -> None:
        where = f"{result.arm}, seed {result.seed}, step {result.step}"
        self._others[where] = self._others.get(where, 0) + 1
        if self._live is None:
            score = "ungraded" if result.score is None else f"{result.score:.3f}"
            self._say(f"  evaluation {result.evaluation} of {where}: {score}")

    def note(self, text: str) -> None:
        """Show a sentence that a person should read (a source that stopped teaching, an engine replaced)."""
        self._notes.append(text)
        if self._live is None:
            self._say(f"  note: {text}")

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _title(self) -> str:
        where = f" ({self._position})" if self._position else ""
        return f"{self._config.name}: {self._config.arm}, seed {self._config.seed}{where}"

    def _score_words(self, name: str) -> str:
        score, first = self._scores[name][1], self._first_scores.get(name)
        if score is None:
            return "ungraded"
        if first is None or self._scores[name][0] == 0:
            return f"{score:.3f}"
        return f"{score:.3f} ({score - first:+.3f} since step 0)"

    def _eta_s(self) -> float | None:
        """Seconds to the last step at the pace since the first step shown; None before there is a pace."""
        done = int(self._latest.get("step", 0)) - (self._first_step or 0)
        if done <= 0:
            return None
        elapsed = time.monotonic() - self._started
        return elapsed / done * (self._config.steps - int(self._latest["step"]))

    def _line(self) -> str:
        """The newest figures on one line."""
        step = int(self._latest.get("step", 0))
        parts = [f"step {step}/{self._config.steps}"]
        for source, values in self._rewards.items():
            parts.append(f"reward {source} {values[-1]:.3f}")
            if f"mix/{source}" in self._latest:
                parts[-1] += f" (mix {self._latest[f'mix/{source}']:.1%})"
        for key, words, shape in FIGURES[:3]:
            if key in self._latest:
                parts.append(f"{words} {shape.format(self._latest[key])}")
        left = self._eta_s()
        if left is not None and step < self._config.steps:
            parts.append(f"{duration(left)} left")
        return ", ".join(parts)

    def _render(self) -> RenderableType:
        parts: list[RenderableType] = [self._bar(), Text(), self._sources(), Text(), self._figures()]
        if self._scores:
            parts += [Text(), self._evaluations()]
        for where, count in list(self._others.items())[-2:]:
            parts.append(Text(f"{count} evaluations of {where} came in", style="dim"))
        parts += [Text(f"• {note}", style="yellow") for note in self._notes]
        return Panel(Group(*parts), title=f"[bold]{self._title()}[/bold]", title_align="left", border_style="cyan")

    def _bar(self) -> RenderableType:
        step, steps = int(self._latest.get("step", 0)), self._config.steps
        left = self._eta_s()
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True)
        ending = "waiting for the first step" if left is None else f"{duration(left)} left"
        ran = duration(time.monotonic() - self._started)
        grid.add_row(f"step {step} of {steps}", ProgressBar(total=steps, completed=step), f"{ran}, {ending}")
        return grid

    def _sources(self) -> Table:
        """One row a source: reward with its course, share of what was trained, and what went wrong."""
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for heading in ("source", "reward", "", "trained", *(words for _, words in SOURCE_SHARES)):
            table.add_column(heading, justify="left" if heading in ("source", "") else "right", no_wrap=True)
        for source in self._config.mix.sources:
            values = self._rewards.get(source.name, deque())
            mix = self._latest.get(f"mix/{source.name}")
            trained = "-" if mix is None else f"{mix:.1%} of {source.fraction:.1%}"
            shares = [self._share(f"{key}/{source.name}") for key, _ in SOURCE_SHARES]
            reward = f"{values[-1]:.3f}" if values else "-"
            table.add_row(Text(source.name, style="bold"), reward, Text(sparkline(values), "green"), trained, *shares)
        return table

    def _share(self, key: str) -> Text:
        value = self._latest.get(key)
        if value is None:
            return Text("-")
        return Text(f"{value:.0%}", style="red" if value >= 0.9 else "yellow" if value >= 0.5 else "")

    def _figures(self) -> Table:
        """The figures without a label, four a row, and the seconds of each phase."""
        grid = Table.grid(padding=(0, 3))
        shown = [
            Text.assemble((f"{words} ", "dim"), shape.format(self._latest[key]))
            for key, words, shape in FIGURES
            if key in self._latest
        ]
        for start in range(0, len(shown), 4):
            grid.add_row(*shown[start : start + 4])
        timed = [key for key in self._latest if key.startswith("seconds/") and key != "seconds/step"]
        phases = [(key.removeprefix("seconds/"), self._latest[key]) for key in timed]
        whole = Table.grid()
        whole.add_row(grid)
        if phases:
            words = "   ".join(f"{phase} {seconds:.2f}" for phase, seconds in phases)
            whole.add_row(Text.assemble(("seconds  ", "dim"), words))
        return whole

    def _evaluations(self) -> Table:
        """The newest score of every evaluation, with its change since before training."""
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for heading in ("evaluation", "step", "score", "since step 0"):
            table.add_column(heading, justify="left" if heading == "evaluation" else "right", no_wrap=True)
        for name, (step, score) in list(self._scores.items())[:NUM_EVALUATIONS]:
            first = self._first_scores.get(name)
            change = Text("-") if score is None or first is None else _change(score - first)
            table.add_row(name, str(step), "ungraded" if score is None else f"{score:.3f}", change)
        if len(self._scores) > NUM_EVALUATIONS:
            table.add_row(f"and {len(self._scores) - NUM_EVALUATIONS} more", "", "", "")
        return table


def _change(difference: float) -> Text:
    style = "green" if difference > 0.02 else "red" if difference < -0.02 else "dim"
    return Text(f"{difference:+.3f}", style=style)
