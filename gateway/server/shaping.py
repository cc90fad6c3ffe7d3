"""What a route changes in answers, its upstream's and our own, applied to one exchange."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from aiohttp import hdrs

from gateway.errors import Reason
from gateway.model import Forwarding
from gateway.rules import cors, paths
from gateway.rules.rewriting import Rewriting
from gateway.rules.shaping import AnswerShape, security_fields
from gateway.server.answers import Answer

if TYPE_CHECKING:
    from gateway.server.exchange import Exchange

_REFERENCES = (b"location", b"content-location")
_REFRESH = b"refresh"


class Shaper:
    """Changes the answers of one route; made only for a route that changes any.

    Args:
        upstream_hosts: What the upstream is called by, where that is not the client's ``Host``.
    """

    __slots__ = ("_forwarding", "_public_host", "_rewriting", "_shape")

    def __init__(
        self, forwarding: Forwarding, *, public_url: str, upstream_hosts: frozenset[str]
    ) -> None:
        security = forwarding.security_headers
        self._forwarding = forwarding
        self._public_host = urlsplit(public_url).netloc
        self._shape = AnswerShape(
            cors=forwarding.cors,
            headers=forwarding.answer_headers,
            security=security_fields(security, https=public_url.startswith("https:"))
            if security is not None
            else (),
        )
        strip, add = map(paths.prefix, (forwarding.strip_prefix, forwarding.add_prefix))
        self._rewriting = (
            Rewriting(strip, add, upstream_hosts) if strip or add or upstream_hosts else None
        )

    def of_upstream(
        self, exchange: Exchange, lines: list[bytes], cookies: list[bytes]
    ) -> tuple[list[bytes], list[bytes], int]:
        """Return an upstream's lines as the client gets them, and what they say of caching."""
        rewriting = self._rewriting
        if rewriting is not None:
            lines = [self._rewritten(rewriting, exchange, line) for line in lines]
            cookies = [
                b"Set-Cookie: " + rewriting.cookie(_value(line)).encode("latin-1")
                for line in cookies
            ]
        lines, said = self._shape.apply(lines, one_origin(exchange))
        return lines, cookies, said

    def of_ours(self, exchange: Exchange, answer: Answer) -> Answer:
        """Return an answer of the gateway's own as it is given on this route."""
        fields = self._shape.own(answer.headers, one_origin(exchange))
        return answer if fields == answer.headers else replace(answer, headers=fields)

    def _rewritten(self, rewriting: Rewriting, exchange: Exchange, line: bytes) -> bytes:
        name, _, _ = line.partition(b":")
        folded = name.lower()
        if folded not in _REFERENCES and folded != _REFRESH:
            return line
        rewrite = rewriting.refresh if folded == _REFRESH else rewriting.reference
        forwarding = self._forwarding
        value = rewrite(
            _value(line),
            own_hosts={exchange.fields.headers.get(hdrs.HOST, ""), self._public_host} - {""},
            target=paths.rewrite(
                paths.clean(exchange.path), forwarding.strip_prefix, forwarding.add_prefix
            ),
        )
        return name + b": " + value.encode("latin-1")


def shaper(
    forwarding: Forwarding, *, public_url: str, upstream_hosts: frozenset[str]
) -> Shaper | None:
    """Return what shapes the answers of a route; None where nothing does."""
    headers = forwarding.answer_headers
    if not (
        forwarding.strip_prefix
        or forwarding.add_prefix
        or upstream_hosts
        or forwarding.cors
        or forwarding.security_headers
        or headers.fields
        or headers.removed
    ):
        return None
    return Shaper(forwarding, public_url=public_url, upstream_hosts=upstream_hosts)


def preflight(exchange: Exchange, forwarding: Forwarding, method: str) -> Answer | None:
    """Return the answer to a pre-flight about a route; None where its upstream has to know.

    Args:
        method: What ``Access-Control-Request-Method`` names.
    """
    if forwarding.cors is None:
        return None
    fields = cors.preflight_fields(forwarding.cors, one_origin(exchange), method)
    return Answer(status=204, headers=fields, reason=Reason.PREFLIGHT)


def asked_method(exchange: Exchange) -> str | None:
    """Return the method that a pre-flight asks about; None: the request is no pre-flight."""
    asked = exchange.fields.headers.getall(hdrs.ACCESS_CONTROL_REQUEST_METHOD, [])
    return asked[0] if len(asked) == 1 and hdrs.ORIGIN in exchange.fields.headers else None


def one_origin(exchange: Exchange) -> str | None:
    """Return the request's ``Origin``; None where there is none, or more than one."""
    origins = exchange.fields.headers.getall(hdrs.ORIGIN, [])
    return origins[0] if len(origins) == 1 else None


def _value(line: bytes) -> str:
    return line.partition(b":")[2].decode("latin-1").strip(" \t")
