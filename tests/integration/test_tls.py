"""TLS on the near side: who comes over it is told so, and gets cookies that go nowhere else."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway_process import GatewayProcess
from tests.servers import free_port

FILES = Path(__file__).parent.parent / "config" / "files"
TLS = """
version: 1
server:
  listen: 127.0.0.1:${PORT}
  public_url: https://localhost:${PORT}
  tls: {cert: ${FILES}/cert.pem, key: ${FILES}/key.pem}
session: {store: "sqlite:///sessions.db", secret: 0123456789abcdef0123456789abcdef}
upstreams: {app: "http://127.0.0.1:${UPSTREAM}"}
routes: [{path: /**, access: login}]
"""


CONTEXT = ssl.create_default_context()
CONTEXT.check_hostname = False
CONTEXT.verify_mode = ssl.CERT_NONE  # what is tested is the gateway, not its certificate


class TlsGateway(GatewayProcess):
    """A gateway that is asked over TLS whether it answers."""

    def _answers(self) -> bool:
        try:
            with self.ask("/_gateway/health") as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def ask(self, path: str, **headers: str) -> Any:
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", headers=headers)
        return urllib.request.urlopen(request, context=CONTEXT, timeout=5)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[TlsGateway]:
    with TlsGateway(tmp_path, TLS, FILES=FILES, UPSTREAM=free_port()) as gateway:
        yield gateway


def test_a_listener_with_tls_hands_out_cookies_that_go_nowhere_else(gateway: TlsGateway) -> None:
    signed_in = gateway.sign_in("ada")
    assert signed_in.cookie.startswith("__Host-gateway_session=")

    with gateway.ask("/_gateway/auth/csrf") as answer:
        cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-gateway_csrf=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(cookie.split("; "))

    with gateway.ask("/_gateway/auth/session", Cookie=signed_in.cookie) as answer:
        assert json.load(answer)["user"]["id"] == "ada"


def test_who_does_not_speak_tls_hinders_nobody(gateway: TlsGateway) -> None:
    with pytest.raises((http.client.HTTPException, ConnectionError, urllib.error.URLError)):
        urllib.request.urlopen(f"http://127.0.0.1:{gateway.port}/", timeout=5)

    with gateway.ask("/_gateway/health") as answer:
        assert answer.status == 200
