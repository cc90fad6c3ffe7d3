"""Reading ``Cookie``, and guarding the names of the gateway's own cookies.

Ours are read strictly: one exact name, once. They are kept away from upstreams loosely: whatever
some framework could read as one of ours is dropped with it. Losing a cookie that only looks like
ours costs little; an upstream that finds one we did not check may believe it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote_to_bytes

_BLANK = b" \t"
_LONGEST = 1024
"""Bytes of a name with escapes that is looked into. Of a longer one it is not worth the time to
know whose it is: it counts as one that looks like ours."""

# What no framework counts as part of a name: controls, space, quotes, `=` in front, and all bytes
# outside ASCII (a no-break space is one that some trim).
_NOISE = rb"[\x00-\x20\"'=\x7f-\xff]*"
_NO_NAME_CHARACTER = rb"(?:[^A-Za-z0-9!#$%&*+.^_`|~-]|\Z)"

# Both fold to one spelling what PHP does (`.`, space and `[` become `_`) and ASP.NET (no case).
_FOLD = bytes.maketrans(b". [ABCDEFGHIJKLMNOPQRSTUVWXYZ", b"___abcdefghijklmnopqrstuvwxyz")


def read(values: Sequence[bytes], names: frozenset[bytes]) -> tuple[dict[bytes, bytes], bytes]:
    """Return the gateway's own cookies, and the ``Cookie`` value for the upstream.

    Of ``names`` those are returned that occur exactly once in all fields together; a name that
    occurs twice is absent, since nobody can say which was set by us. Values are as sent, quotes
    included. The rest goes on in its order, byte for byte, joined with ``; ``; empty when there
    is none. Nothing that a client may send raises.

    Source: RFC 6265 sections 4.2 and 5.4, without its leniency.
    """
    own: dict[bytes, bytes] = {}
    twice: set[bytes] = set()
    rest: list[bytes] = []
    escaped = False
    for value in values:
        for part in value.split(b";"):
            name, _, content = part.partition(b"=")
            name = name.strip(_BLANK)
            if name in names:
                if name in own:
                    twice.add(name)
                own[name] = content.strip(_BLANK)
            elif part := part.strip(_BLANK):
                rest.append(part)
                if b"%" in name:
                    escaped = True
    for name in twice:
        del own[name]
    others = b"; ".join(rest)
    looks = _looks(names)
    # Measured: 0.5 us for four cookies, where asking each part costs 2.2.
    if escaped or (others and looks.possible(others)):
        others = b"; ".join([part for part in rest if not looks.alike(part)])
    return own, others


def parse_all(values: Sequence[bytes]) -> dict[str, str]:
    """Return all cookies that occur exactly once, for the gateway's own pages.

    One character a byte: what is no ASCII is for nobody here to understand.
    """
    found: dict[bytes, bytes] = {}
    twice: set[bytes] = set()
    for name, content in _parts(values):
        if name in found:
            twice.add(name)
        found[name] = content
    return {
        name.decode("latin-1"): content.decode("latin-1")
        for name, content in found.items()
        if name not in twice
    }


def is_gateway_cookie(set_cookie_value: bytes, names: frozenset[bytes]) -> bool:
    """Whether a ``Set-Cookie`` from an upstream would set one of the gateway's cookies.

    As loosely as any browser reads it: blanks in front, a cookie without name (``=name=value`` is
    sent back as ``name=value``), one without ``=``, a prefix in another case.

    Source: RFC 6265bis sections 5.6 and 4.1.3.
    """
    return _looks(names).set_by(set_cookie_value)


def _parts(values: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for value in values:
        for part in value.split(b";"):
            name, equals, content = part.partition(b"=")
            if equals or name.strip(_BLANK):
                yield name.strip(_BLANK), content.strip(_BLANK)


@dataclass(frozen=True, slots=True)
class Looks:
    """What could be read as one of some names."""

    folded: tuple[bytes, ...]
    at_start: re.Pattern[bytes]
    inside: re.Pattern[bytes]

    def possible(self, text: bytes) -> bool:
        """Whether one of the names may be in there, escapes aside: never False when one is."""
        text = text.translate(_FOLD)
        for name in self.folded:  # noqa: SIM110 - measured: any() costs 0.3 us more
            if name in text:
                return True
        return False

    def alike(self, part: bytes) -> bool:
        """Whether some framework finds one of the names in this part of ``Cookie``.

        Python's ``http.cookies`` ends a value at white space, and readers after RFC 2965 at a
        comma: a second cookie may follow in the same part.
        """
        return self.named(part) or self.inside.search(part) is not None

    def set_by(self, set_cookie_value: bytes) -> bool:
        """Whether a ``Set-Cookie`` would set one of the names."""
        return self.named(set_cookie_value.lstrip(b"; \t").partition(b";")[0])

    def named(self, pair: bytes) -> bool:
        """Whether a pair's name could be one of the names: trimmed, unquoted, cut at a control
        character, decoded, in another case, or missing altogether.
        """
        if self.at_start.match(pair):
            return True
        # Old PHP and some JavaScript parsers decode names, once the parts are told apart.
        name, equals, content = pair.partition(b"=")
        if b"%" not in name:
            return False
        if len(name) > _LONGEST:
            return True
        return self.at_start.match(unquote_to_bytes(name) + equals + content) is not None


def look_alikes(names: frozenset[bytes], *, beginnings: bool = False) -> Looks:
    """Return what finds cookies that somebody reads as one of these names, or as ``name.0``.

    Args:
        beginnings: Whether all that begins with a name is taken for a piece, as NextAuth does.
    """
    # Possessive, and no further than a name goes: otherwise the square of its length were tried.
    rest = rb"[^=;,\x00-\x20\"]*+"
    return _looks(names, rest if beginnings else rb"(?:[_. \[][0-9]{1,4})?")


@lru_cache(maxsize=64)
def _looks(names: frozenset[bytes], pieces: bytes = b"") -> Looks:
    folded = tuple(sorted(name.translate(_FOLD) for name in names))
    spelt = rb"(?:" + rb"|".join(map(_spelling, folded)) + rb")" if folded else rb"(?!)"
    spelt += pieces
    return Looks(
        folded=folded,
        at_start=re.compile(_NOISE + spelt + _NO_NAME_CHARACTER, re.IGNORECASE),
        inside=re.compile(rb"[\x00-\x20,\"]" + spelt + rb"[\x00-\x20\"]*=", re.IGNORECASE),
    )


def _spelling(folded: bytes) -> bytes:
    return re.escape(folded).replace(b"_", rb"[_. \[]")
