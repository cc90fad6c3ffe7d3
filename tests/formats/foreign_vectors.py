"""Cookies and store entries that the real packages made, and what those made of them.

``vectors/`` are within the formats, ``quirks/`` beyond them, with a recommended answer.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet

from gateway.formats import npm_cookies
from gateway.formats.foreign import Why
from gateway.rules import cookies as cookie_header

FOLDER = Path(__file__).parent

Vector = dict[str, Any]

# The vectors call `malformed` what is no cookie of the format, and `no_entry` or `bad_chunks` what
# only the store, or the keys, can tell. A codec that knows it sooner, or closer, says so.
_CLOSER: Mapping[str, frozenset[str]] = {
    "malformed": frozenset({Why.TOO_LARGE, Why.BAD_PREFIX, Why.BAD_SIGNATURE, Why.BAD_MAC}),
    "no_entry": frozenset({Why.TOO_LARGE, Why.MALFORMED}),
    "bad_chunks": frozenset({Why.MALFORMED, Why.BAD_MAC}),
    "bad_entry": frozenset({Why.NO_USER}),
}


def load(name: str, folder: str = "vectors") -> list[Vector]:
    """Return all vectors of a format."""
    text = (FOLDER / folder / f"{name}.json").read_text()
    found: list[Vector] = json.loads(text)["vectors"]
    return found


def cases(name: str, folder: str = "vectors", kind: str = "") -> list[ParameterSet]:
    """Return them as parameters, called what they are about."""
    return [
        pytest.param(vector, id=f"{vector['id']} {vector['title']}".replace(" ", "_"))
        for vector in load(name, folder)
        if vector["kind"] in (kind or vector["kind"])
    ]


def cookies(vector: Vector, flavour: npm_cookies.Flavour) -> dict[str, str]:
    """Return the cookies of a request as the app reads them; without those that came twice."""
    sent = cookie_header.parse_all([vector["cookie_header"].encode("latin-1")])
    return {
        name: npm_cookies.value(value.encode("latin-1"), flavour) for name, value in sent.items()
    }


def says(why: Why, vector: Vector) -> bool:
    """Whether a refusal is the one that a vector expects."""
    category = vector["expected_error"]["category"]
    return why == category or why in _CLOSER.get(category, ())
