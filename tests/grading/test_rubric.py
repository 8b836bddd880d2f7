import pytest
from hypothesis import given
from hypothesis import strategies as st

from grading.rubric import rubric_score
from grading.types import Criterion, Verdict, VerdictStatus

MET, NOT_MET, UNGRADED = (Verdict(status=status) for status in VerdictStatus)


def criteria(*points):
    return tuple(Criterion(text=f"c{number}", points=value) for number, value in enumerate(points))


@pytest.mark.parametrize(
    ("points", "verdicts", "score"),
    [
        ((2, 1, -1), (MET, MET, NOT_MET), 1.0),
        ((2, 1, -1), (MET, NOT_MET, MET), 1 / 3),
        ((2, 1, -1), (NOT_MET, NOT_MET, NOT_MET), 0.0),
        ((2, 1, -6), (MET, MET, MET), -1.0),
        ((2, 1, -1), (MET, MET, UNGRADED), None),
        ((2, 1, -1), (UNGRADED, NOT_MET, NOT_MET), None),
    ],
)
def test_hand_computed(points, verdicts, score):
    assert rubric_score(criteria(*points), verdicts) == (None if score is None else pytest.approx(score))


rubrics = st.lists(st.tuples(st.sampled_from([-3.0, -1.0, 0.5, 2.0]), st.booleans()), min_size=1).filter(
    lambda pairs: any(points > 0 for points, _ in pairs)
)


@given(rubrics)
def test_meeting_more_never_hurts_unless_it_is_a_failing(pairs):
    rubric = criteria(*(points for points, _ in pairs))
    verdicts = [MET if met else NOT_MET for _, met in pairs]
    score = rubric_score(rubric, verdicts)
    assert score is not None
    assert score <= 1.0
    for index, (points, met) in enumerate(pairs):
        if not met:
            more = rubric_score(rubric, [*verdicts[:index], MET, *verdicts[index + 1 :]])
            assert more is not None
            assert (more > score) is (points > 0)


@given(rubrics, st.data())
def test_invariant_5_one_ungraded_criterion_leaves_no_score(pairs, data):
    verdicts = [MET if met else NOT_MET for _, met in pairs]
    verdicts[data.draw(st.integers(0, len(pairs) - 1))] = UNGRADED
    assert rubric_score(criteria(*(points for points, _ in pairs)), verdicts) is None


def test_missing_verdicts_are_an_error():
    with pytest.raises(ValueError, match="2 criteria but 1 verdicts"):
        rubric_score(criteria(1, 1), (MET,))


def test_a_rubric_of_failings_only_is_an_error():
    with pytest.raises(ValueError, match="no criterion with positive points"):
        rubric_score(criteria(-1), (MET,))
