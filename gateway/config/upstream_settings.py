"""What an operator may write about upstreams.

Below each field stands what it means, its unit, its default, and what leaving it out means.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, PlainValidator, model_validator

from gateway.config.kinds import (
    Count,
    Duration,
    Flag,
    Given,
    Strict,
    Text,
    UpstreamUrl,
)
from gateway.model import Balance

_HEAVIEST = 1000
_REQUEST_TARGET = re.compile(r"/[\x21-\x22\x24-\x7e]*")
_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")


def _whole(value: object) -> int:
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdecimal()):
        raise ValueError("expected a whole number")
    return int(text)


def _weight(value: object) -> int:
    text = str(value)
    if isinstance(value, bool) or not re.fullmatch("[0-9]{1,4}", text):
        raise ValueError(f"expected a whole number from 1 to {_HEAVIEST}")
    if not 1 <= int(text) <= _HEAVIEST:
        raise ValueError(f"expected a whole number from 1 to {_HEAVIEST}")
    return int(text)


def _request_target(text: str) -> str:
    if not _REQUEST_TARGET.fullmatch(text):
        raise ValueError("expected a path such as /healthz, as it is sent")
    return text


def _host_name(text: str) -> str:
    if not _HOST_NAME.fullmatch(text):
        raise ValueError("expected a host name such as app.internal")
    return text.lower()


Whole = Annotated[int, PlainValidator(_whole)]
Weight = Annotated[int, PlainValidator(_weight)]
RequestTarget = Annotated[str, AfterValidator(_request_target)]
HostName = Annotated[str, AfterValidator(_host_name)]


class TimeoutSettings(Strict):
    """``timeouts`` of an upstream; past one the client gets 504."""

    connect: Duration = 2.0
    """To be connected. Default 2s."""
    first_byte: Duration = 30.0
    """From the end of the request to the head of the answer. Default 30s."""
    idle: Duration = 60.0
    """Between two pieces of a body, in either direction. Default 60s."""
    total: Annotated[Duration | None, Given] = None
    """For the whole exchange, with the wait for a connection and both bodies; WebSockets are
    exempt. Unset: no limit."""


class TargetSettings(Strict):
    """An entry of ``targets``; a bare URL stands for its ``url``."""

    url: UpstreamUrl
    """``http://host:port``, ``https://host:port`` or ``unix:/path``."""
    weight: Weight = 1
    """Its share of the requests, beside those of the other targets: 1 to 1000. Default ``1``."""

    @model_validator(mode="before")
    @classmethod
    def _bare_url(cls, value: object) -> object:
        return value if isinstance(value, dict | list | None) else {"url": value}


class HealthSettings(Strict):
    """``health`` of an upstream: every target is asked, whether requests come or not."""

    path: RequestTarget
    """What is asked for, with GET; 2xx and 3xx are well."""
    interval: Duration = 10.0
    """Between two checks of a target. Default 10s."""
    timeout: Duration = 2.0
    """How long a check may take, connecting included. Default 2s."""
    healthy_after: Count = 2
    """So many checks in a row have to pass before a target that was down gets requests. Default
    ``2``."""
    unhealthy_after: Count = 3
    """So many checks in a row have to fail before a target gets no more. Default ``3``."""


class UpstreamTlsSettings(Strict):
    """``tls`` of an upstream with ``https`` targets. Files are PEM, relative to the
    configuration's folder."""

    ca: Annotated[Text | None, Given] = None
    """Certificates of those who may have signed the upstream's. Unset: whom the system trusts."""
    server_name: Annotated[HostName | None, Given] = None
    """Asked for by SNI, and looked for in the certificate. Unset: the target's host."""
    cert: Annotated[Text | None, Given] = None
    """The gateway's own certificate, followed by its chain. Unset: it shows none."""
    key: Annotated[Text | None, Given] = None
    """Its private key, not encrypted. Unset: it is in the file of ``cert``."""
    verify: Flag = True
    """Whether the upstream has to prove who it is. Default true."""


class UpstreamSettings(Strict):
    """An upstream; a bare URL stands for ``{targets: [URL]}``."""

    targets: Annotated[tuple[TargetSettings, ...], Field(min_length=1)]
    """Where it listens: URLs, or ``{url, weight}``."""
    balance: Balance = Balance.ROUND_ROBIN
    """Which target gets a request: ``round_robin`` the next one, ``least_requests`` the one with
    least to do, ``sticky`` the same one for the same session, or client address where there is no
    session. Default ``round_robin``."""
    health: Annotated[HealthSettings | None, Given] = None
    """Active checks. Unset: targets are judged by how requests to them end."""
    max_connections: Annotated[Count | None, Given] = None
    """Requests that one target gets at once from one worker. Unset: no limit."""
    queue: Annotated[Whole | None, Given] = None
    """Requests that may wait for one of ``max_connections``; for more, 503. Unset: 100."""
    queue_timeout: Annotated[Duration | None, Given] = None
    """How long one may wait; then 503. Unset: 5s."""
    tls: Annotated[UpstreamTlsSettings | None, Given] = None
    """How ``https`` targets prove who they are. Unset: as in browsers."""
    timeouts: TimeoutSettings = TimeoutSettings()
    """How long it may take."""

    @model_validator(mode="before")
    @classmethod
    def _bare_url(cls, value: object) -> object:
        return value if isinstance(value, dict | list | None) else {"targets": [value]}
