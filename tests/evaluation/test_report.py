import re
import shutil
from html.parser import HTMLParser

import pandas as pd
import pytest

from evaluation.experiment import read_experiment
from evaluation.report import find, summary_table, write_report
from tests.evaluation.fake_experiment import write_experiment

SMALL = {"arms": ("baseline", "multi_domain"), "seeds": (0,), "steps": 20, "num_items": 12}


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = write_experiment(tmp_path_factory.mktemp("runs") / "demo", **SMALL)
    for path in folder.glob("*/evaluations/*.jsonl"):  # what a hostile policy could write
        path.write_text(path.read_text().replace("it is certainly fine", "<script>alert(1)</script>"))
    return write_report(folder)


class Outline(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids, self.links, self.loads, self.open = [], [], [], []

    def handle_starttag(self, tag, attrs) -> None:
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given["href"]] if tag == "a" else []
        self.loads += [tag] if tag in {"script", "link", "img", "iframe"} or "src" in given else []


def test_page_is_one_file_that_loads_nothing(demo) -> None:
    page, outline = demo.read_text(), Outline()
    outline.feed(page)
    assert outline.loads == []
    assert not re.search(r"url\((?!#)|@import", page)
    assert {link.removeprefix("#") for link in outline.links} <= set(outline.ids)
    assert len(outline.ids) == len(set(outline.ids))


def test_page_says_what_was_found(demo) -> None:
    page = demo.read_text()
    for words in ("The traits were learned", "positive control", "policy&#39;s compute is matched", "one training seed",
                  "cannot show anything about language models", "miniature-judge-1a2b3c4d"):  # fmt: skip
        assert words in page
    assert page.count("<figcaption") == 9
    assert "nan" not in re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL).lower().split()


def test_files_beside_the_page(demo) -> None:
    table = pd.read_csv(demo.parent / "results.csv")
    assert len(table) == 2 * 5 * 23  # arms, checkpoints, evaluations
    headline = pd.read_csv(demo.parent / "tables" / "headline.csv").set_index("arm")
    assert headline.loc["multi_domain", "traits"] > headline.loc["baseline", "traits"] + 0.3
    names = {path.stem for path in (demo.parent / "figures").glob("*.svg")}
    assert {"traits", "transfer-multi_domain", "mix", "checkpoints-held_out_trait", "seconds"} <= names
    assert names == {path.stem for path in (demo.parent / "figures").glob("*.png")}


def test_headline_numbers_are_those_of_the_results(demo) -> None:
    results = pd.read_csv(demo.parent / "results.csv")
    last = results[(results.step == 20) & (results.arm == "multi_domain")]
    expected = last[last.evaluation.str.startswith("trait:")].score.mean()
    headline = pd.read_csv(demo.parent / "tables" / "headline.csv").set_index("arm")
    assert headline.loc["multi_domain", "traits"] == pytest.approx(expected)


def test_model_text_is_escaped(demo) -> None:
    page = demo.read_text()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page


def test_terminal_summary(demo) -> None:
    text = summary_table(demo.parent.parent)
    assert "multi domain" in text
    assert "before training" in text
    assert "generalized" in text
    assert max(len(line) for line in text.splitlines()) <= 100


def test_unfinished_experiment_is_reported_as_far_as_it_goes(tmp_path) -> None:
    folder = write_experiment(tmp_path / "demo", **SMALL)
    run = folder / "multi_domain-seed0"
    shutil.rmtree(run / "evaluations")
    (run / "compute.json").unlink()
    lines = (run / "metrics.jsonl").read_text()
    (run / "metrics.jsonl").write_text(lines[:-40])
    shutil.rmtree(folder / "baseline-seed0" / "evaluations")
    page = write_report(folder).read_text()
    for words in ("ends in half a line", "has no evaluated checkpoint", "has no compute ledger", "stops at step 19",
                  "There is nothing to compare yet", "The match can’t be shown"):  # fmt: skip
        assert words in page


def test_single_run_can_be_read_too(tmp_path) -> None:
    folder = write_experiment(tmp_path / "demo", **SMALL)
    assert "baseline" in summary_table(folder / "baseline-seed0")
    assert read_experiment(folder / "baseline-seed0").arms == ("baseline",)


def test_planned_but_missing_runs_are_named(tmp_path) -> None:
    folder = write_experiment(tmp_path / "demo", **SMALL)
    shutil.rmtree(folder / "multi_domain-seed0")
    assert "Planned but not run: multi_domain, seed 0." in read_experiment(folder).notes


def test_mixed_judges_are_a_problem_not_a_number(tmp_path) -> None:
    folder = write_experiment(tmp_path / "demo", **SMALL)
    for path in (folder / "multi_domain-seed0" / "evaluations").iterdir():
        path.write_text(path.read_text().replace("miniature-judge-1a2b3c4d", "another-judge"))
    findings = find(read_experiment(folder))
    assert findings.comparisons == []
    assert "different judges" in findings.problems[0]


def test_no_runs_is_an_error_that_helps(tmp_path) -> None:
    with pytest.raises(ValueError, match="expected folders named <arm>-seed<k>"):
        write_report(tmp_path)
    with pytest.raises(FileNotFoundError, match="no experiment at"):
        write_report(tmp_path / "nowhere")


def test_broken_metrics_are_named(tmp_path) -> None:
    folder = write_experiment(tmp_path / "demo", **SMALL)
    path = folder / "baseline-seed0" / "metrics.jsonl"
    path.write_text("not json\n" + path.read_text())
    with pytest.raises(ValueError, match=r"metrics\.jsonl, line 1"):
        read_experiment(folder)
