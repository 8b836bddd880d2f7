"""From a TOML file and dotted overrides to a checked `Config`, or to every problem found, at once.

Example:
    >>> config = load_config("configs/demo.toml", ["learner.learning_rate=1e-4", "seed=3"])
"""

import difflib
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect as schema

from actors.checks import problems_of
from actors.config import Config
from rollout.arms import ARMS

MAX_TYPE_ERRORS = 50
"""Wrong values that are collected before the reader of the message has enough to do."""


class ConfigError(ValueError):
    """The configuration cannot be used. Names the file and lists every problem, each with its fix."""

    def __init__(self, path: str, problems: tuple[str, ...]) -> None:
        super().__init__(path, problems)
        self.path, self.problems = path, problems

    def __str__(self) -> str:
        heading = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        return f"{self.path}: {heading}\n" + "\n".join(f"  - {problem}" for problem in self.problems)


def load_config(path: str, overrides: Sequence[str] = (), *, experiment: bool = True) -> Config:
    """Read, override, decode and check a configuration.

    Args:
        path: A TOML file. Paths inside it are relative to the working directory.
        overrides: "dotted.key=value" each; the value is TOML, or else taken as a string.
        experiment: Also check what only an experiment with several arms needs.

    Raises:
        ConfigError: with all problems found.
    """
    data = _read(path)
    for override in overrides:
        _override(data, override)
    unknown = list(_unknown_keys(data, schema.type_info(Config), ""))
    for problem_path, _ in unknown:
        _delete(data, problem_path.split("."))
    config, problems = _decode(data)
    problems = [problem for _, problem in unknown] + problems
    if config is None:
        raise ConfigError(path, tuple(problems))
    config = msgspec.structs.replace(config, arms={**ARMS, **config.arms})
    problems += problems_of(config, experiment=experiment)
    if problems:
        raise ConfigError(path, tuple(problems))
    return config


def _read(path: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(path, (_missing_file(Path(path)),)) from None
    except (IsADirectoryError, PermissionError, UnicodeDecodeError) as error:
        raise ConfigError(path, (f"the file cannot be read: {error}",)) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(path, (f"the file is not valid TOML: {error}",)) from None


def _missing_file(path: Path) -> str:
    neighbours = sorted(str(found) for found in path.parent.glob("*.toml")) if path.parent.is_dir() else []
    near = difflib.get_close_matches(str(path), neighbours, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "shipped configurations are in configs/"
    return f"there is no such file; {hint}"


def _override(data: dict[str, Any], override: str) -> None:
    """Put one "dotted.key=value" into the tables, making tables that are not there yet."""
    dotted, equals, text = override.partition("=")
    keys = dotted.strip().split(".")
    if not equals or not all(keys):
        raise ConfigError("--set", (f"{override!r} is not of the form key=value, e.g. learner.learning_rate=1e-4",))
    table = data
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError("--set", (f"{override!r}: {key} is a value, not a table; it has no keys to set",))
    table[keys[-1]] = _toml_value(text.strip())


def _toml_value(text: str) -> Any:
    """The text as a TOML value; text that is none (a bare word, a path) is a string, so no quotes are needed."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _unknown_keys(value: Any, kind: schema.Type, path: str) -> Iterator[tuple[str, str]]:
    """The (path, problem) of every key that no field has."""
    if isinstance(kind, schema.StructType) and isinstance(value, dict):
        fields = {field.encode_name: field.type for field in kind.fields}
        for key, inner in value.items():
            here = f"{path}.{key}" if path else key
            if key in fields:
                yield from _unknown_keys(inner, fields[key], here)
            else:
                yield here, f"{here}: there is no such key; {_nearest_key(here, path, fields)}"
    elif isinstance(kind, schema.DictType) and isinstance(value, dict):
        for key, inner in value.items():
            yield from _unknown_keys(inner, kind.value_type, f"{path}.{key}")
    elif isinstance(kind, schema.VarTupleType) and isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _unknown_keys(inner, kind.item_type, f"{path}.{index}")


def _nearest_key(here: str, table: str, fields: dict[str, Any]) -> str:
    """The key that was probably meant: one of this table, or one of the same name elsewhere."""
    key = here.rpartition(".")[2]
    everywhere = list(_dotted_keys(schema.type_info(Config), ""))
    same_name = [dotted for dotted in everywhere if dotted.rpartition(".")[2] == key]
    in_table = [f"{table}.{near}" if table else near for near in difflib.get_close_matches(key, fields, n=1)]
    near = same_name[:3] or in_table or difflib.get_close_matches(here, everywhere, n=1)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"the keys here are {', '.join(sorted(fields))}"


def _dotted_keys(kind: schema.Type, path: str) -> Iterator[str]:
    if isinstance(kind, schema.StructType):
        for field in kind.fields:
            here = f"{path}.{field.encode_name}" if path else field.encode_name
            yield here
            yield from _dotted_keys(field.type, here)


def _decode(data: dict[str, Any]) -> tuple[Config | None, list[str]]:
    """Convert, setting wrong values aside one by one so that all of them are reported.

    The configuration is None where some of it could not be understood at all.
    """
    problems: list[str] = []
    for _ in range(MAX_TYPE_ERRORS):
        try:
            return msgspec.convert(data, Config, strict=True), problems
        except msgspec.ValidationError as error:
            what, _, place = str(error).partition(" - at `$")
            keys = place.removesuffix("`").strip(".").replace("[", ".").replace("]", "").split(".")
            dotted = ".".join(key for key in keys if key)
            problems.append(f"{dotted}: {_plain(what)}{_choices(dotted)}" if dotted else _plain(what))
            if not dotted or "required field" in what or not _delete(data, dotted.split(".")):
                return None, problems
    return None, problems


def _plain(message: str) -> str:
    return message[:1].lower() + message[1:].replace("`", "")


def _choices(dotted: str) -> str:
    """ "; must be a or b" where the key takes one of a few values, else nothing."""
    kind: schema.Type | None = schema.type_info(Config)
    for key in dotted.split("."):
        fields = kind.fields if isinstance(kind, schema.StructType) else ()
        kind = next((field.type for field in fields if field.encode_name == key), None)
    if not isinstance(kind, schema.LiteralType):
        return ""
    return f"; must be {' or '.join(repr(value) for value in kind.values)}"


def _delete(data: Any, keys: list[str]) -> bool:
    """Take the value at this path out; a value inside a list takes the whole list with it."""
    for position, key in enumerate(keys[:-1]):
        inner = data.get(key)
        if not isinstance(inner, dict):
            return data.pop(keys[position], None) is not None
        data = inner
    return data.pop(keys[-1], None) is not None
