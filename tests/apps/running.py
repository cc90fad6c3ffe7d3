"""The applications as processes, on free loopback ports."""

from __future__ import annotations

import http.client
import subprocess
from pathlib import Path
from typing import Any

from tests.apps.building import built, environment, node
from tests.servers import Server

SECRET = "the secret of the app: 32 characters"
IRON_PASSWORD = "the password of iron: 32 characters"


class App(Server):
    """An application.

    Args:
        name: Of its folder.
        settings: Environment that it is configured by.
    """

    def __init__(self, name: str, **settings: str) -> None:
        super().__init__(name)
        self._settings = settings
        self.url = f"http://127.0.0.1:{self.port}"
        self._built = built(name)

    patience = 30.0

    @property
    def build_id(self) -> str:
        """What is in the path of a Next.js page's data."""
        return (self._built / ".next" / "BUILD_ID").read_text().strip()

    def run_command(self) -> list[str | Path]:
        next_js = self._built / "node_modules" / "next" / "dist" / "bin" / "next"
        if next_js.exists():
            return [node(), next_js, "start", "-H", "127.0.0.1", "-p", str(self.port)]
        return [node(), "server.mjs"]

    def surroundings(self) -> dict[str, Any]:
        env = {**environment(), "PORT": str(self.port), **self._settings}
        return {"cwd": self._built, "env": env, "stdin": subprocess.DEVNULL}

    def _answers(self) -> bool:
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
