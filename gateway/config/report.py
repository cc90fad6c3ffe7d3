"""Gathers what is wrong with a file, each fault at its place, and shows no value it should not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, get_args

from gateway.config.source import Path, Position, Source, path_text
from gateway.config.suggestions import did_you_mean
from gateway.errors import ConfigError, Problem

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

_LONGEST_SHOWN = 80
_MESSAGES = {
    "string_type": "expected text",
    "model_type": "expected a mapping",
    "dict_type": "expected a mapping",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "too_long": "one entry is possible, and no more",
    "too_short": "an empty list allows nothing: leave the key out, or name something",
}


class Report:
    """Problems and warnings of one file."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._problems = [problem for _, problem in source.problems]
        self._broken: set[Path] = set()
        self._around_broken: set[Path] = set()
        self._warnings: list[Problem] = []
        for path, _ in source.problems:
            self._mark(path)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """What may stand, but should be looked at; in the order of the file."""
        return tuple(sorted(self._warnings))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What has to be mended."""
        return tuple(self._problems)

    def add(self, problems: Iterable[Problem], warnings: Iterable[Problem] = ()) -> None:
        """Take over what is wrong with a file that this one refers to."""
        self._problems += problems
        self._warnings += warnings

    def raise_problems(self) -> None:
        """Raise ``ConfigError`` with all problems, if there are any."""
        if self._problems:
            raise ConfigError(self._problems)

    def error(self, path: Path, message: str, *known: str, key: bool = False) -> None:
        """Note a problem.

        Args:
            path: Of the value at fault.
            message: What is wrong. ``%v`` stands for the value, or for ``this`` if it is not shown.
            known: What may have been meant.
            key: Whether the key is at fault instead of the value.
        """
        self._problems.append(self._problem(path, message, known, key))
        self._mark(path)

    def warn(self, path: Path, message: str, *known: str, key: bool = False) -> None:
        """Note what may stand, but should be looked at."""
        self._warnings.append(self._problem(path, message, known, key))

    def invalid(self, errors: Iterable[ErrorDetails], model: type[BaseModel], path: Path) -> None:
        """Note what pydantic found in the value under ``path``, in our words."""
        found = [(error, *self._resolve(path, error["loc"])) for error in errors]
        # A value that could not be had (an unset variable, say) is told already.
        told = {where for _, where, _ in found if where and not self._whole(where)}
        for error, where, names in found:
            kind = error["type"]
            if kind == "extra_forbidden":
                known = _fields(model, names[:-1])
                meant = did_you_mean(names[-1], known)
                self.error(where, f"unknown key{meant}", key=True)
            elif kind == "missing":
                self.error((*where, names[-1]), "this key is missing")
            elif where in told or (kind == "too_short" and error["input"]):
                continue  # each entry that a list then lacks was told by itself, too
            elif kind in ("enum", "literal_error"):
                options = re.findall(r"[^' ,]+(?=')|^[0-9]+$", error["ctx"]["expected"])
                expected = " or ".join(filter(None, (", ".join(options[:-1]), options[-1])))
                self.error(where, f"expected {expected}, not %v", *options)
            else:
                message = _MESSAGES.get(kind) or str(error.get("ctx", {}).get("error", kind))
                suffix = ", not %v" if message.startswith("expected") else ""
                self.error(where, message + suffix, key=error["loc"][-1:] == ("[key]",))

    def sound(self, *path: str | int) -> bool:
        """Whether nothing is wrong with the value under a path, around it, or in it."""
        around = any(path[:length] in self._broken for length in range(len(path)))
        return not around and self._whole(path)

    def _whole(self, path: Path) -> bool:
        return path not in self._broken and path not in self._around_broken

    def _mark(self, path: Path) -> None:
        self._broken.add(path)
        self._around_broken.update(path[:length] for length in range(len(path)))

    def hide(self, path: Path, origin: str = "") -> None:
        """Show the value under a path in no message, whatever it is."""
        if origin or path not in self._source.origins:
            self._source.origins[path] = origin

    def line(self, path: Path) -> int:
        """Return the line where the value under a path begins."""
        return self.position(path)[0]

    def position(self, path: Path) -> Position:
        """Return line and column where the value under a path begins."""
        return self._position(path, key=False)

    def value(self, path: Path) -> Any:
        """Return what stands under a path, as it was read; None: nothing."""
        return _value_at(self._source.data, path)

    def hidden(self, path: Path) -> bool:
        """Whether the value under a path must not be shown."""
        return path in self._source.origins

    def _problem(self, path: Path, message: str, known: tuple[str, ...], key: bool) -> Problem:
        line, column = self._position(path, key)
        value = path[-1] if key else _value_at(self._source.data, path)
        origin = None if key else self._source.origins.get(path)
        if origin is not None:
            message = message.replace(", not %v", "").replace("%v", "this")
            message += f" (value from {origin})" if origin else ""
        else:
            message = message.replace("%v", _shown(value))
            message += did_you_mean(value, known) if known else ""
        return Problem(self._source.file, line, column, path_text(path), message)

    def _position(self, path: Path, key: bool) -> Position:
        if key and path in self._source.keys:
            return self._source.keys[path]
        while path and path not in self._source.values:
            path = path[:-1]
        return self._source.values.get(path, (1, 1))

    def _resolve(self, path: Path, loc: tuple[str | int, ...]) -> tuple[Path, tuple[str, ...]]:
        """Return where in the file a location is, and the names of fields on the way."""
        where = path
        for part in loc:
            if (*where, part) in self._source.values:
                where = (*where, part)
        return where, tuple(part for part in loc if isinstance(part, str))


def _value_at(data: Any, path: Path) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and re.search(r"://.*@", value):
        return "this URL"  # it may hold a password
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _fields(model: Any, names: tuple[str, ...]) -> list[str]:
    """Return the fields of the model that lies under these names."""
    for name in names:
        inner = getattr(model, "model_fields", {}).get(name)
        model = _inner_model(inner.annotation) if inner is not None else model
    fields = getattr(model, "model_fields", {})
    return [field.alias or name for name, field in fields.items()]


def _inner_model(annotation: Any) -> Any:
    if hasattr(annotation, "model_fields"):
        return annotation
    for argument in get_args(annotation):
        if (found := _inner_model(argument)) is not None:
            return found
    return None
