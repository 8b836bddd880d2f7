import json
import pickle

import msgspec
import pytest

from evaluation.types import Evaluation, Role
from scenarios.jsonl import DataError, read_evaluations, read_prompts
from tests.rollout.worlds import standard_prompts, trait_prompts


def write(path, *records) -> str:
    path.write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in records))
    return str(path)


def test_prompts_come_back_as_they_were(tmp_path):
    prompts = standard_prompts(3) + trait_prompts(3)
    assert tuple(read_prompts(write(tmp_path / "p.jsonl", *prompts))) == prompts


def test_a_record_is_read_before_the_next_line_is_looked_at(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_bytes(msgspec.json.encode(standard_prompts(1)[0]) + b"\n\nnot json\n")
    reader = read_prompts(path)
    assert next(reader).prompt_id == "standard-0"
    with pytest.raises(DataError, match="line 3: not JSON in UTF-8"):
        next(reader)


GOOD = {
    "prompt_id": "a",
    "family": "a",
    "messages": [{"role": "user", "content": "hello"}],
    "check": {"kind": "exact", "expected": "x"},
}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"messages": [{"role": "user", "content": 3}]}, r"Expected `str`, got `int` - at `messages\[0\].content`"),
        ({"messages": [{"role": "bot", "content": "x"}]}, r"Invalid enum value 'bot' - at `messages\[0\].role`"),
        ({"prompt_id": None}, "Expected `str`, got `null` - at `prompt_id`"),
        ({"check": None}, "needs either criteria or a check"),
        ({"check": None, "criterias": []}, "a Prompt has no field `criterias`; did you mean `criteria`"),
        ({"zzz": 1}, "no field `zzz`; its fields are prompt_id, family"),
        ({"messages": []}, "must end with a user's message"),
    ],
)
def test_an_error_names_file_line_field_and_what_is_expected(tmp_path, change, problem):
    path = write(tmp_path / "p.jsonl", {**GOOD, "prompt_id": "first"}, {**GOOD, **change})
    with pytest.raises(DataError, match=r"p\.jsonl, line 2: not a valid Prompt: .*" + problem) as caught:
        list(read_prompts(path))
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301 - made just here


def test_a_missing_field_and_a_line_that_is_no_record(tmp_path):
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"family": "a"}) + "\n")
    with pytest.raises(DataError, match="line 1: not a valid Prompt: Object missing required field `prompt_id`"):
        list(read_prompts(path))
    path.write_text("[1, 2]\n")
    with pytest.raises(DataError, match="line 1: not a valid Prompt: Expected `object`, got `array`"):
        list(read_prompts(path))
    path.write_bytes(b'{"prompt_id": "\xff"}\n')
    with pytest.raises(DataError, match="line 1: not JSON in UTF-8"):
        list(read_prompts(path))


def test_a_repeated_id_names_both_lines(tmp_path):
    path = write(tmp_path / "p.jsonl", GOOD, {**GOOD, "prompt_id": "b"}, GOOD)
    with pytest.raises(DataError, match="line 3: prompt_id 'a' is that of line 1 too"):
        list(read_prompts(path))


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.jsonl: cannot be read \(No such file or directory\): give the path"):
        list(read_prompts(tmp_path / "nowhere.jsonl"))
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(DataError, match="the file is empty: write one Prompt a line"):
        list(read_prompts(tmp_path / "empty.jsonl"))


def evaluation(name: str, items) -> Evaluation:
    return Evaluation(name=name, family="health", role=Role.OUT_OF_DISTRIBUTION, description="d", items=items)


def test_evaluations_come_back_as_they_were_and_repeats_are_refused(tmp_path):
    one, two = evaluation("one", standard_prompts(2)), evaluation("two", trait_prompts(2))
    path = write(tmp_path / "e.jsonl", one, two)
    assert list(read_evaluations(path)) == [one, two]
    with pytest.raises(DataError, match="line 2: name 'one' is that of line 1 too"):
        list(read_evaluations(write(tmp_path / "e.jsonl", one, one)))
    with pytest.raises(DataError, match="line 1: evaluation 'one' has no items"):
        list(read_evaluations(write(tmp_path / "e.jsonl", evaluation("one", ()))))
    with pytest.raises(DataError, match="two items with prompt_id 'standard-0'"):
        list(read_evaluations(write(tmp_path / "e.jsonl", evaluation("one", standard_prompts(1) * 2))))
