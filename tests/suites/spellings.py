"""The ways to write a header field so that some backend reads it as another one.

``{name}`` is the field meant (``X-User-Id``), ``{cgi}`` the same with underscores, ``{value}`` what
the client wants to be believed.
"""

from __future__ import annotations

import re

VALID = {
    "plain": "{name}: {value}",
    "lower case": "{lower}: {value}",
    "upper case": "{upper}: {value}",
    "underscores": "{cgi}: {value}",
    "one underscore": "{half_cgi}: {value}",
    "underscores in lower case": "{lower_cgi}: {value}",
    "dots": "{dots}: {value}",
    "tildes": "{tildes}: {value}",
    "carets": "{carets}: {value}",
    "twice": "{name}: {value}\r\n{name}: {value}",
    "twice, once with underscores": "{cgi}: {value}\r\n{name}: {value}",
    "second of a list": "{name}: a, {value}",
    "after an empty one": "{name}:\r\n{name}: {value}",
    "named by Connection": "Connection: close, {name}\r\n{name}: {value}",
    "ours, named by Connection": "Connection: close, {name}",
    "underscores, named by Connection": "Connection: close, {cgi}\r\n{cgi}: {value}",
    "for a proxy": "Proxy-{name}: {value}",
    "as a CGI variable": "HTTP_{upper_cgi}: {value}",
    "dash at the end": "{name}-: {value}",
    "underscore at the end": "{cgi}_: {value}",
    "underscore before it": "_{cgi}: {value}",
    "star at the end": "{name}*: {value}",
    "trailer": (
        "Transfer-Encoding: chunked\r\nTrailer: {name}\r\n\r\n1\r\nx\r\n0\r\n{name}: {value}"
    ),
}
"""Fields as RFC 9110 has them: such a request may pass, without the field."""

INVALID = {
    "space before the colon": "{name} : {value}",
    "tab before the colon": "{name}\t: {value}",
    "space before it": " {name}: {value}",
    "in a folded line": "X-A: b\r\n {name}: {value}",
    "with a folded value": "{name}:\r\n {value}",
    "NUL": "{name}\x00: {value}",
    "vertical tab": "\x0b{name}: {value}",
    "bare LF": "X-A: b\n{name}: {value}",
    "bare CR": "X-A: b\r{name}: {value}",
    "no-break space": "{name}\xa0: {value}",
    "Unicode hyphens": "{hyphens}: {value}",
}
"""What is no field: such a request is refused."""


def spelled(spelling: str, name: str, value: str) -> str:
    """Return the header lines."""
    cgi = name.replace("-", "_")
    return spelling.format(
        name=name,
        value=value,
        lower=name.lower(),
        upper=name.upper(),
        cgi=cgi,
        half_cgi=name.replace("-", "_", 1),
        lower_cgi=cgi.lower(),
        upper_cgi=cgi.upper(),
        dots=name.replace("-", "."),
        tildes=name.replace("-", "~"),
        carets=name.replace("-", "^"),
        hyphens=name.replace("-", "\u2010".encode().decode("latin-1")),
    )


def folded(name: str) -> str:
    """Return what CGI, and whatever descends from it, makes of a field's name."""
    return re.sub("[^A-Z0-9]", "_", name.upper())
