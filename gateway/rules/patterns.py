"""Path patterns and hosts as a route names them, and the one spelling of each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import quote

from gateway.errors import AmbiguousPath
from gateway.rules.paths import clean

ONE = "*"
REST = "**"

_NAMED = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?")


class PatternFault(ValueError):
    """A path pattern or host that cannot be understood; the message says why."""


def check_pattern(pattern: str, allow: frozenset[str] = frozenset()) -> str:
    """Return the one spelling of a path pattern; two patterns that match alike spell alike.

    Raises:
        PatternFault: It is no pattern; the message says what is wrong.
    """
    return "/" + "/".join(spell(segment) for segment in split_pattern(pattern, allow))


def check_host(host: str) -> str:
    """Return the one spelling of a route's host: lower-case, without trailing dot.

    An IPv6 address, in brackets or not, comes as ``targets.host_name`` says it: without brackets,
    in its shortest form.

    Raises:
        PatternFault: It is neither a host name nor ``*.`` and a host name.
    """
    name = host.lower().removesuffix(".")
    if ":" in name:
        bracketed = name.startswith("[") and name.endswith("]")
        try:
            return str(IPv6Address(name[1:-1] if bracketed else name))
        except AddressValueError:
            pass  # an address with a port, most likely
    labels = name.removeprefix("*.").split(".")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise PatternFault(
            "expected a host name such as app.example.com or *.example.com, without scheme or port"
        )
    return name


class Wild(str):
    """A segment of a pattern that stands for any text; a literal ``*`` is no ``Wild``."""

    __slots__ = ()


def is_wild(segment: str) -> bool:
    """Whether a segment of ``split_pattern`` stands for any text."""
    return isinstance(segment, Wild)


def split_pattern(pattern: str, allow: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield a pattern's segments, literals decoded, wildcards as ``Wild``."""
    if not pattern.startswith("/"):
        raise PatternFault("a path begins with /")
    parts = pattern[1:].removesuffix("/").split("/") if pattern != "/" else []
    for at, part in enumerate(parts):
        if part == REST:
            if at != len(parts) - 1:
                raise PatternFault("** stands only at the end")
            yield Wild(REST)
        elif part == ONE or _NAMED.fullmatch(part):
            yield Wild(ONE)
        elif not part:
            raise PatternFault("a path has no empty segment (//)")
        elif set(part) & set("*{}"):
            raise PatternFault(
                f"{part!r}: a segment is a literal, {{name}}, * or, at the end, **; "
                "a literal * or brace is written %2A, %7B or %7D"
            )
        elif "?" in part:
            raise PatternFault("the query is never matched; a literal ? is written %3F")
        else:
            yield _literal(part, allow)


def _literal(part: str, allow: frozenset[str]) -> str:
    try:
        path = clean("/" + quote(part, safe="".join(map(chr, range(0x80)))))
    except AmbiguousPath as error:
        raise PatternFault(f"{part!r}: {error}") from None
    if refused := path.marks - allow:
        raise PatternFault(f"{part!r}: list {sorted(refused)} in allow_in_path first")
    return path.segments[0]


def spell(segment: str) -> str:
    """Return a segment as a pattern writes it."""
    return str(segment) if isinstance(segment, Wild) else quote(segment, safe="")


def fold_case(text: str) -> str:
    """Fold case as a JavaScript regular expression with the flag ``i`` does.

    Express matches that way, and ``case: insensitive`` is for upstreams such as Express.

    Source: ECMA-262, Canonicalize.
    """
    if text.isascii():
        return text.upper()
    return "".join(map(_fold_character, text))


def _fold_character(character: str) -> str:
    upper = character.upper()
    if len(upper) != 1 or (ord(character) >= 0x80 > ord(upper)):
        return character
    return upper
