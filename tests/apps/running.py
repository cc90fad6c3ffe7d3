"""The applications as processes, on free loopback ports."""

from __future__ import annotations

import http.client
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.apps.building import built, environment, node
from tests.servers import free_port, wait_for

SECRET = "the secret of the app: 32 characters"
IRON_PASSWORD = "the password of iron: 32 characters"


class App:
    """An application that runs, until the end of the ``with``.

    Args:
        name: Of its folder.
        settings: Environment that it is configured by.
    """

    def __init__(self, name: str, **settings: str) -> None:
        self._name = name
        self._settings = settings
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = built(name)
        self._log = Path(tempfile.mkdtemp(prefix=f"{name}-test-")) / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def build_id(self) -> str:
        """What is in the path of a Next.js page's data."""
        return (self._folder / ".next" / "BUILD_ID").read_text().strip()

    def __enter__(self) -> Self:
        next_js = self._folder / "node_modules" / "next" / "dist" / "bin" / "next"
        command: list[str | Path] = [node(), "server.mjs"]
        if next_js.exists():
            command = [node(), next_js, "start", "-H", "127.0.0.1", "-p", str(self.port)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                env={**environment(), "PORT": str(self.port), **self._settings},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_for(self._answers, seconds=30.0, what=f"{self._name} answers")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(15)

    def log(self) -> str:
        """Everything it printed so far."""
        return self._log.read_text(errors="replace")

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            pytest.fail(f"{self._name} ended at once:\n{self.log()}")
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/api/echo")
            return connection.getresponse().status < 500
        except OSError:
            return False
        finally:
            connection.close()


def next_js(origin: str) -> App:
    """Return the Next.js app with next-auth 4 and iron-session 8, for browsers at an origin."""
    return App("nextjs", NEXTAUTH_URL=origin, NEXTAUTH_SECRET=SECRET, IRON_PASSWORD=IRON_PASSWORD)


def auth_js(origin: str, secret: str = SECRET) -> App:
    """Return the Next.js app with Auth.js 5 and iron-session 9."""
    return App(
        "authjs",
        AUTH_URL=origin,
        AUTH_SECRET=secret,
        AUTH_TRUST_HOST="true",
        IRON_PASSWORD=IRON_PASSWORD,
    )


def express(redis_url: str, secret: str = SECRET, **settings: str) -> App:
    """Return the Express app with express-session and connect-redis."""
    return App("express", REDIS_URL=redis_url, SESSION_SECRET=secret, **settings)


def database(url: str, origin: str) -> App:
    """Return the app with next-auth 4 and sessions in PostgreSQL, for browsers at an origin."""
    return App("database", DATABASE_URL=url, NEXTAUTH_URL=origin, NEXTAUTH_SECRET=SECRET)
