"""Prompts and evaluations from JSONL files: one record a line, read one at a time.

Every error names the file, the line and the field, says what was expected, and comes before the record is
used. Fields that a record does not have are refused: a misspelt name would otherwise be dropped in silence.
"""

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from evaluation.types import Evaluation
from rollout.types import Prompt

Record = TypeVar("Record", bound=msgspec.Struct)


class DataError(ValueError):
    """A data file that cannot be used as it is. Names the file and, where there is one, the line."""

    def __init__(self, path: str, line: int | None, problem: str) -> None:
        super().__init__(path, line, problem)
        self.path, self.line, self.problem = path, line, problem

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}, line {self.line}"
        return f"{place}: {self.problem}"


def read_prompts(path: str | Path) -> Iterator[Prompt]:
    """Yield the prompts of a JSONL file, holding one of them (and the ids of the others) in memory.

    Raises:
        DataError: on the first use if the file is missing or empty; at its line if a record is not a
            prompt or repeats an earlier `prompt_id`.
    """
    yield from _unique(path, _read(path, Prompt), "prompt_id")


def read_evaluations(path: str | Path) -> Iterator[Evaluation]:
    """Yield the evaluations of a JSONL file, one at a time.

    Raises:
        DataError: as `read_prompts`, for a repeated `name`, and for an evaluation with no items or with
            two items of one `prompt_id`.
    """
    for line, evaluation in _unique_lines(path, _read(path, Evaluation), "name"):
        ids = [item.prompt_id for item in evaluation.items]
        if not ids:
            raise DataError(str(path), line, f"evaluation {evaluation.name!r} has no items: give it at least one")
        if len(set(ids)) < len(ids):
            twice = next(prompt_id for prompt_id in ids if ids.count(prompt_id) > 1)
            raise DataError(str(path), line, f"evaluation {evaluation.name!r} has two items with prompt_id {twice!r}")
        yield evaluation


def _unique(path: str | Path, records: Iterable[tuple[int, Record]], field: str) -> Iterator[Record]:
    return (record for _, record in _unique_lines(path, records, field))


def _unique_lines(path: str | Path, records: Iterable[tuple[int, Record]], field: str) -> Iterator[tuple[int, Record]]:
    """Pass the records on with their lines, refusing the second of two with one id."""
    first_lines: dict[str, int] = {}
    for line, record in records:
        name = getattr(record, field)
        if name in first_lines:
            raise DataError(
                str(path), line, f"{field} {name!r} is that of line {first_lines[name]} too: make every {field} unique"
            )
        first_lines[name] = line
        yield line, record


def _read(path: str | Path, kind: type[Record]) -> Iterator[tuple[int, Record]]:
    """Yield each record with its line number, from 1; blank lines are passed over."""
    empty = True
    for line, text in _lines(path):
        empty = False
        try:
            record = _record(text, kind)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DataError(str(path), line, _problem(error, kind)) from error
        yield line, record
    if empty:
        raise DataError(str(path), None, f"the file is empty: write one {kind.__name__} a line")


def _lines(path: str | Path) -> Iterator[tuple[int, bytes]]:
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed by the with below; only opening it is tried
    except OSError as error:
        problem = f"cannot be read ({error.strerror}): give the path of a JSONL file under [data]"
        raise DataError(str(path), None, problem) from error
    with file:
        for line, text in enumerate(file, start=1):
            if text.strip():
                yield line, text


def _record(text: bytes, kind: type[Record]) -> Record:
    raw = msgspec.json.decode(text)
    if isinstance(raw, dict):
        _refuse_unknown(raw, kind)
    return msgspec.convert(raw, kind)


def _refuse_unknown(raw: dict[str, object], kind: type[msgspec.Struct]) -> None:
    unknown = sorted(raw.keys() - set(kind.__struct_fields__))
    if not unknown:
        return
    near = difflib.get_close_matches(unknown[0], kind.__struct_fields__, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"its fields are {', '.join(kind.__struct_fields__)}"
    raise msgspec.ValidationError(f"a {kind.__name__} has no field `{unknown[0]}`; {hint}")


def _problem(error: Exception, kind: type[msgspec.Struct]) -> str:
    """Put the decoder's message, which ends in the field's path from `$` (the record), as a sentence."""
    if isinstance(error, msgspec.ValidationError):
        return f"not a valid {kind.__name__}: {str(error).replace('`$.', '`')}"
    return f"not JSON in UTF-8: {error}"
