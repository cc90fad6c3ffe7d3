"""Reads the body of a form, as browsers and next-auth's client send it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import parse_qsl

from gateway.errors import ClientError
from gateway.server.answers import PageRequest

_FIELDS = 32
"""More than any form of ours has."""

_HALF_A_PAIR = re.compile(r"[\ud800-\udfff]")
"""JSON may hold it escaped; no encoding can express it, neither on a page nor in a store."""


def read_form(request: PageRequest, *, ignore: str | None = None) -> dict[str, str]:
    """Return the fields of a form-encoded or JSON body; an empty body has none.

    Args:
        ignore: A member of a JSON body that may be anything, and is left out.

    Raises:
        ClientError: It is neither, not UTF-8, or says a field twice: what reads the first and
            what reads the last would disagree.
    """
    if not request.body:
        return {}
    media_type, *parameters = request.headers.get("Content-Type", "").lower().split(";")
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name == "charset" and value.strip('"') != "utf-8":
            raise ClientError("a form in another encoding than UTF-8")
    ignored = frozenset([ignore] if ignore else [])
    match media_type.strip():
        case "application/x-www-form-urlencoded":
            return _once(_pairs(request.body))
        case "application/json":
            return _members(request.body, ignored)
        case _:
            raise ClientError("a form is application/x-www-form-urlencoded or application/json")


def read_query(query: str) -> dict[str, str]:
    """Return the parameters of a query; of one that is said twice or unreadable, nothing."""
    fields: dict[str, str | None] = {}
    for name, value in parse_qsl(query, keep_blank_values=True, errors="replace"):
        fields[name] = None if name in fields else value
    return {name: value for name, value in fields.items() if value is not None}


def _pairs(body: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_FIELDS
        )
    except ValueError as exc:
        raise ClientError("a form that is not UTF-8, or has too many fields") from exc


def _members(body: bytes, ignored: frozenset[str]) -> dict[str, str]:
    try:
        # Objects come out as tuples of pairs, so that a repeated name is still seen.
        members = json.loads(body.decode(), object_pairs_hook=tuple)
    except (ValueError, RecursionError) as exc:
        raise ClientError("a body that is not JSON") from exc
    if not isinstance(members, tuple) or len(members) > _FIELDS:
        raise ClientError("a JSON body that is no object, or has too many members")
    fields = _once((name, value) for name, value in members if name not in ignored)
    for name, value in fields.items():
        if isinstance(value, bool):  # next-auth's client says "json": true
            fields[name] = "true" if value else "false"
        elif not isinstance(value, str) or _HALF_A_PAIR.search(value):
            raise ClientError("a member of a JSON form that is no text")
    return fields


def _once(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in pairs:
        if name in fields:
            raise ClientError("a field of a form was sent twice")
        fields[name] = value
    return fields
