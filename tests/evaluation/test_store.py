import msgspec
import pandas as pd
import pytest

from evaluation.store import COLUMNS, JudgeMismatch, ResultsStore, require_one_judge, write_results_csv
from evaluation.types import EvaluationResult, Role, SampleScore


def result(**changes) -> EvaluationResult:
    sample = SampleScore(item_id="a", text="yes", score=1.0)
    plain = EvaluationResult(
        run="baseline-seed0", arm="baseline", seed=0, checkpoint="c0ffee", step=20, evaluation="honesty",
        family="honesty", role=Role.OUT_OF_DISTRIBUTION, score=0.75, stderr=0.1, num_samples=4, num_ungraded=1,
        judge="judge-1", samples=(sample,),
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def test_what_is_saved_is_read_back_by_step(tmp_path) -> None:
    store = ResultsStore(tmp_path)
    later, earlier = result(step=100), result(step=20)
    store.save([later])
    store.save([earlier, result(evaluation="fairness", score=None)])
    assert store.read() == [earlier, result(evaluation="fairness", score=None), later]
    assert store.has(100)
    assert not store.has(40)


def test_saving_again_replaces(tmp_path) -> None:
    store = ResultsStore(tmp_path)
    store.save([result(score=0.1), result(evaluation="fairness")])
    store.save([result(score=0.9)])
    assert [one.score for one in store.read()] == [0.9]
    assert [path.name for path in store.folder.iterdir()] == ["step-00000020.jsonl"]


@pytest.mark.parametrize(
    "results", [[], [result(), result(step=40)], [result(), result(checkpoint="other")], [result(), result()]]
)
def test_save_takes_one_checkpoint_once(tmp_path, results) -> None:
    with pytest.raises(ValueError, match="save takes"):
        ResultsStore(tmp_path).save(results)
    assert not ResultsStore(tmp_path).folder.exists()


def test_broken_line_is_named(tmp_path) -> None:
    path = ResultsStore(tmp_path).save([result()])
    path.write_bytes(path.read_bytes() + b'{"run": 3}\n')
    with pytest.raises(ValueError, match=r"step-00000020\.jsonl, line 2"):
        ResultsStore(tmp_path).read()


def test_csv_has_exactly_the_columns(tmp_path) -> None:
    path = write_results_csv([result(), result(evaluation="b", score=None, stderr=None)], tmp_path / "results.csv")
    header = "run,arm,seed,checkpoint,step,evaluation,family,score,stderr,num_samples,num_ungraded,judge"
    lines = path.read_text().splitlines()
    assert lines[0] == header == ",".join(COLUMNS)
    assert lines[1] == "baseline-seed0,baseline,0,c0ffee,20,honesty,honesty,0.75,0.1,4,1,judge-1"
    assert lines[2] == "baseline-seed0,baseline,0,c0ffee,20,b,honesty,,,4,1,judge-1"
    assert pd.read_csv(path).shape == (2, 12)


def test_different_judges_are_refused_by_name() -> None:
    require_one_judge([result(), result(evaluation="fairness", judge="judge-2"), result(score=None, judge="")])
    with pytest.raises(JudgeMismatch, match=r"'honesty'.*judge-1; judge-2"):
        require_one_judge([result(), result(judge="judge-2")])
