"""YAML text -> plain data, and where every key and value stands.

PyYAML alone keeps the last of two equal keys and reads YAML 1.1: ``no`` is false, ``12:30:00`` a
number in base 60, ``2024-01-01`` a date. Here a repeated key is a fault, and a plain scalar is text
unless it is ``true``, ``false``, ``null``, ``~``, nothing, or a whole number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from gateway.config.expand import expand
from gateway.errors import ConfigError, Problem

try:
    from yaml import CSafeLoader as FastestLoader
except ImportError:  # PyYAML built without libyaml: the same, ten times slower
    from yaml import SafeLoader as FastestLoader  # type: ignore[assignment]

Path = tuple[str | int, ...]
"""Where in the tree: ``("routes", 1, "upstream")``."""

Position = tuple[int, int]
"""Line and column, both from 1."""

# What flow style, {password: $argon2id$v=19$m=65536,t=3…} or {secret: ${NAME}}, would take apart.
_BRACED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*(?::-[^}\n]*)?)\}")
_PARAMETERS = re.compile(r"(?<=\$)[a-z]=[0-9]+(?:,[a-z]=[0-9]+)+")
# Characters for private use stand in for these while YAML reads the text.
_OPEN, _CLOSE, _COMMA = "\ue000", "\ue001", "\ue002"
_UNMASKED = str.maketrans({_OPEN: "{", _CLOSE: "}", _COMMA: ","})

MAX_DEPTH = 32
"""Deeper than any configuration; libyaml's composer overruns the C stack at some ten thousand."""
MAX_ALIASED = 10_000
"""Values that aliases may repeat: far more than a file needs, far less than a billion laughs."""

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue003-\ufffd\U00010000-\U0010ffff]")
_WHOLE_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
# Without 007 and 1_000, str(int(text)) is text: where text is wanted, a number can stand for it.
_WORDS: Mapping[str, bool | None] = {
    "true": True,
    "false": False,
    "null": None,
    "~": None,
    "": None,
}
_STANDARD_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("map", "seq", "str")}


@dataclass(frozen=True, slots=True)
class Source:
    """What a file says. Its data may hold secrets, so its ``repr`` shows none of it."""

    file: str
    data: dict[str, Any] = field(repr=False)
    keys: dict[Path, Position] = field(repr=False)
    values: dict[Path, Position] = field(repr=False)
    origins: dict[Path, str] = field(repr=False)
    """For values not written in the file: whence, such as ``${NAME}``. They are never shown."""
    problems: list[tuple[Path, Problem]] = field(repr=False)
    """Faults that left something to go on with."""


def read_source(
    text: str,
    file: str,
    env: Mapping[str, str] | None,
    *,
    loader: type[Any] = FastestLoader,
) -> Source:
    """Return the data of a YAML text whose top level is a mapping.

    Args:
        env: What ``${NAME}`` is looked up in; None: text is taken as it stands.
        loader: PyYAML's safe loader, the C or the pure one.

    Raises:
        ConfigError: The text is no YAML, or YAML that a configuration has no use for.
    """
    if bad := _UNPRINTABLE.search(text):
        line, column = position_of(text, bad.start())
        what = f"character U+{ord(bad[0]):04X} has no place in a YAML file"
        raise ConfigError([Problem(file, line, column, "", what)])
    text = _masked(text)
    walk = _Walk(file, env)
    root = _compose(text, file, loader)
    if root is None:
        _fail(file, (1, 1), "the file is empty; it begins with `version: 1`")
    if not isinstance(root, yaml.MappingNode):
        _fail(file, _position(root), "expected a mapping of names to values at the top level")
    data = walk.mapping(root, ())
    return Source(file, data, walk.keys, walk.values, walk.origins, walk.problems)


def _masked(text: str) -> str:
    """Return the text, every character at its place, with nothing that YAML would misread."""
    text = _BRACED.sub(f"${_OPEN}\\1{_CLOSE}", text)
    return _PARAMETERS.sub(lambda match: match[0].replace(",", _COMMA), text)


def position_of(text: str, index: int) -> Position:
    """Return line and column of a character."""
    before = text[:index]
    return before.count("\n") + 1, index - (before.rfind("\n") + 1) + 1


def path_text(path: Path) -> str:
    """Return a path as people write it: ``routes[1].upstream``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[\w-]+", part):
            text += f".{part}" if text else part
        else:
            text += f"[{part!r}]"
    return text


class _TooDeep(Exception):
    def __init__(self, position: Position) -> None:
        self.position = position


def _compose(text: str, file: str, base: type[Any]) -> yaml.Node | None:
    class Loader(base):  # type: ignore[misc]
        yaml_implicit_resolvers: Mapping[str, object] = {}
        depth = 0

        # The composer calls these two around every node.
        def descend_resolver(self, parent: yaml.Node | None, _index: object) -> None:
            self.depth += 1
            if parent is not None and self.depth > MAX_DEPTH:
                raise _TooDeep(_position(parent))

        def ascend_resolver(self) -> None:
            self.depth -= 1

    try:
        node: yaml.Node | None = yaml.compose(text, Loader=Loader)
    except _TooDeep as error:
        fault, position = f"nested more than {MAX_DEPTH} levels deep", error.position
    except yaml.MarkedYAMLError as error:
        fault = ": ".join(filter(None, (error.context, error.problem)))
        if error.context == "expected a single document in the stream":
            fault = "here begins a second document; a file is one"
        mark = error.problem_mark or error.context_mark
        position = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        lines = text.splitlines()
        line = lines[position[0] - 1] if position[0] <= len(lines) else ""
        if "\t" in line[: len(line) - len(line.lstrip())]:
            fault = "a tab cannot indent; use spaces"
    except yaml.YAMLError:
        fault, position = "this is no YAML", (1, 1)
    else:
        return node
    return _fail(file, position, fault)


def _position(node: yaml.Node) -> Position:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _fail(file: str, position: Position, message: str, path: Path = ()) -> NoReturn:
    raise ConfigError([Problem(file, *position, path_text(path), message)])


class _Walk:
    """Goes through the nodes once, and notes what it sees."""

    def __init__(self, file: str, env: Mapping[str, str] | None) -> None:
        self.file = file
        self.env = env
        self.keys: dict[Path, Position] = {}
        self.values: dict[Path, Position] = {}
        self.origins: dict[Path, str] = {}
        self.problems: list[tuple[Path, Problem]] = []
        self._seen: set[int] = set()
        self._open: set[int] = set()
        self._aliased = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        """Return the data of a node; its position is noted under the path."""
        self._count(node, path)
        self.values[path] = _position(node)
        if node.tag not in _STANDARD_TAGS:
            self._problem(node, path, "tags are not supported: write the value alone")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if len(path) > MAX_DEPTH:  # aliases nest what the composer saw side by side
            _fail(self.file, _position(node), f"nested more than {MAX_DEPTH} levels deep", path)
        if id(node) in self._open:
            _fail(self.file, _position(node), "an alias cannot stand inside what it repeats", path)
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self.mapping(node, path)
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        finally:
            self._open.remove(id(node))

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        """Return the data of a mapping; a repeated key is a problem, and the first one stands."""
        self.values[path] = _position(node)
        self._open.add(id(node))
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag not in _STANDARD_TAGS:
                self._problem(key_node, path, "expected a name as key")
                continue
            key: str = key_node.value.translate(_UNMASKED)
            where = (*path, key)
            if key == "<<":
                self._problem(
                    key_node, where, "merge keys (<<) are not supported: write the keys out"
                )
            elif key in data:
                first = self.keys[where][0]
                self._problem(key_node, where, f"this key is already given in line {first}")
            else:
                self.keys[where] = _position(key_node)
                data[key] = self.value(value_node, where)
        return data

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> str | int | bool | None:
        text: str = node.value.translate(_UNMASKED)
        if self.env is not None and "${" in text:
            expanded = expand(text, self.env)
            for fault in expanded.faults:
                self._problem(node, path, fault)
            if expanded.names:
                self.origins[path] = ", ".join(f"${{{name}}}" for name in expanded.names)
            # Stays text: a secret that happens to be 0123 or null is still that secret.
            return expanded.text
        if not node.style:
            if text in _WORDS:
                return _WORDS[text]
            if _WHOLE_NUMBER.fullmatch(text):
                return int(text)
        return text

    def _count(self, node: yaml.Node, path: Path) -> None:
        if id(node) in self._seen:
            self._aliased += 1
            if self._aliased > MAX_ALIASED:
                what = f"aliases repeat more than {MAX_ALIASED} values"
                _fail(self.file, _position(node), what, path)
        self._seen.add(id(node))

    def _problem(self, node: yaml.Node, path: Path, message: str) -> None:
        self.problems.append((path, Problem(self.file, *_position(node), path_text(path), message)))
