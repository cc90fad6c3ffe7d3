"""``${NAME}`` and ``${NAME:-default}`` in a text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_REFERENCE = re.compile(
    r"(?P<literal>\$\$\{)"
    r"|\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<fallback>:-(?P<default>[^}]*))?\}"
    r"|(?P<broken>\$\{)"
)


@dataclass(frozen=True, slots=True)
class Expanded:
    """A text with its references replaced; it may hold a secret."""

    text: str = field(repr=False)
    names: tuple[str, ...]
    """Variables whose value went into it, in order."""
    faults: tuple[str, ...]
    """What could not be replaced, and why."""


def expand(text: str, env: Mapping[str, str]) -> Expanded:
    """Replace every reference; ``$${`` gives ``${``.

    As in a shell, ``:-`` stands in for a variable that is empty, too.
    """
    names: list[str] = []
    faults: list[str] = []

    def replaced(match: re.Match[str]) -> str:
        if match["literal"]:
            return "${"
        name = match["name"]
        if match["broken"]:
            faults.append("expected ${NAME} or ${NAME:-default}; a literal ${ is written $${")
            return ""
        value = env.get(name)
        if match["fallback"] and not value:
            return match["default"]
        if value is None:
            faults.append(f"the environment has no variable {name}")
            return ""
        names.append(name)
        return value

    return Expanded(_REFERENCE.sub(replaced, text), tuple(dict.fromkeys(names)), tuple(faults))
