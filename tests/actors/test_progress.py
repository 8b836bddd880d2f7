import io

import msgspec
import pytest
from rich.console import Console

from actors.config import Config
from actors.progress import Progress, duration, sparkline
from evaluation.types import EvaluationResult, Role

FIGURES = {
    "step": 1.0,
    "reward/standard": 0.5,
    "reward/intervention": 0.25,
    "mix/intervention": 0.0625,
    "zero_variance/intervention": 0.95,
    "mix_deviation": 0.4,
    "policy_lag": 1.0,
    "tokens_per_s": 8123.0,
    "seconds/generate": 1.25,
    "unknown/figure": 3.0,
}


def result(step: int, score: float | None) -> EvaluationResult:
    return EvaluationResult(
        run="r",
        arm="multi_domain",
        seed=0,
        checkpoint="c",
        step=step,
        evaluation="sycophancy",
        family="f",
        role=Role.OUT_OF_DISTRIBUTION,
        score=score,
        stderr=None,
        num_samples=10,
        num_ungraded=0,
        judge="j",
    )


def show(terminal: bool, use) -> str:
    output = io.StringIO()
    console = Console(file=output, width=120, force_terminal=terminal, color_system=None)
    with Progress(Config(name="demo", steps=4), position="run 2 of 4", console=console) as progress:
        use(progress)
    return output.getvalue()


def test_sparkline_of_rising_equal_and_no_values():
    assert sparkline([0, 1, 2, 3]) == "▁▃▆█"
    assert sparkline([0.5, 0.5]) == "▄▄"
    assert sparkline([]) == ""


@pytest.mark.parametrize(("seconds", "words"), [(42.4, "42 s"), (185, "3 min 05 s"), (7620, "2 h 07 min")])
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_plain_lines_name_run_step_rewards_and_mix():
    lines = show(False, lambda progress: progress.update(FIGURES)).splitlines()
    assert lines[0] == "demo: multi_domain, seed 0 (run 2 of 4): 4 steps of 32 groups"
    assert lines[1] == (
        "step 1/4, reward standard 0.500, reward intervention 0.250 (mix 6.2%), policy lag 1, "
        "mix off by 0.40 groups, tokens/s 8,123"
    )
    assert len(lines) == 2


def test_plain_lines_come_at_intervals_and_the_last_step_always():
    def use(progress):
        for step in (1, 2, 3, 4):
            progress.update(FIGURES | {"step": step})

    steps = [line.split(",")[0] for line in show(False, use).splitlines()[1:]]
    assert steps == ["step 1/4", "step 4/4"]


def test_a_run_that_stops_early_still_shows_its_last_figures():
    def use(progress):
        progress.update(FIGURES)
        progress.update(FIGURES | {"step": 2, "reward/standard": 0.75})

    assert "step 2/4, reward standard 0.750" in show(False, use).splitlines()[-1]


def test_evaluations_are_shown_against_step_0():
    def use(progress):
        progress.evaluation(result(0, 0.40))
        progress.evaluation(result(50, 0.52))
        progress.evaluation(result(60, None))

    lines = show(False, use).splitlines()
    assert lines[1].endswith("sycophancy at step 0: 0.400")
    assert lines[2].endswith("at step 50: 0.520 (+0.120 since step 0)")
    assert lines[3].endswith("at step 60: ungraded")


def test_a_result_that_arrives_late_does_not_replace_a_newer_one():
    def use(progress):
        progress.evaluation(result(0, 0.4))
        progress.evaluation(result(50, 0.6))
        progress.evaluation(result(25, 0.5))

    text = show(True, use)
    assert "+0.200" in text
    assert "+0.100" not in text.split("since step 0")[-1]


def test_results_of_an_earlier_run_are_counted_apart():
    def use(progress):
        progress.evaluation(result(0, 0.4))
        for score in (0.9, 0.8):
            progress.evaluation(msgspec.structs.replace(result(50, score), arm="baseline"))

    text = show(True, use)
    assert "2 evaluations of baseline, seed 0, step 50 came in" in text
    assert "0.900" not in text
    assert "  evaluation sycophancy of baseline, seed 0, step 50: 0.900" in show(False, use).splitlines()


def test_notes_are_printed_as_they_are():
    assert "  note: [odd] text" in show(False, lambda progress: progress.note("[odd] text")).splitlines()
    assert "• [odd] text" in show(True, lambda progress: progress.note("[odd] text"))


def test_the_live_display_shows_every_part():
    def use(progress):
        progress.update(FIGURES)
        progress.update(FIGURES | {"step": 2, "reward/standard": 0.75})
        progress.evaluation(result(0, 0.4))

    text = show(True, use)
    for words in ("demo: multi_domain, seed 0 (run 2 of 4)", "step 2 of 4", "0.750", "▁█", "6.2% of 5.0%", "95%"):
        assert words in text, words
    for words in ("policy lag 1", "mix off by 0.40 groups", "generate 1.25", "sycophancy"):
        assert words in text, words


def test_it_does_not_need_figures():
    assert "waiting for the first step" in show(True, lambda progress: None)
    assert len(show(False, lambda progress: None).splitlines()) == 1


def test_eta_counts_from_the_first_step_seen_after_a_resume(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("actors.progress.time.monotonic", lambda: now[0])
    config = msgspec.structs.replace(Config(name="x"), steps=100)
    progress = Progress(config, console=Console(file=io.StringIO()))
    progress.update({"step": 90})
    now[0] = 110.0
    progress.update({"step": 92})
    # Two steps in 10 s, eight to go.
    assert progress._eta_s() == 40.0
