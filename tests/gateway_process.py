"""The gateway as its operator runs it: the real command, in a process of its own.

The configuration is a whole file, given as text. It reads the ports from the environment
(``${PORT}``, ``${ADMIN_PORT}``), and whatever else the test passes there.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher

from tests.servers import Process, free_port

COMMAND = str(Path(sys.executable).with_name("gateway"))


def cheap_hash(password: str) -> str:
    """Return what a users file has of a password, for tests that are not about passwords."""
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(password)


class GatewayProcess(Process):
    """``gateway run``, with its folder and its store.

    As a context manager it is started, and at the end stopped as by an operator; that it then
    ends with anything but status 0 fails the test, and so does a traceback in its output.
    """

    patience = 15.0

    def __init__(self, folder: Path, config: str, **environment: object) -> None:
        super().__init__("gateway run", folder / "output")
        self.folder = folder
        self.admin_port = free_port()
        self.config = folder / "config.yaml"
        self.config.write_text(config, encoding="utf-8")
        self.passed: tuple[int, ...] = ()
        """Descriptors that it inherits."""
        self.startup = 0.0
        """Seconds from the start of the process to its first answer."""
        self.environment = {
            **os.environ,
            "PORT": str(self.port),
            "ADMIN_PORT": str(self.admin_port),
            **{name: str(value) for name, value in environment.items()},
        }

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if self.running and error is not None:
            self.kill()
        elif self.running:
            status = self.stop()
            assert status == 0, self.output()
        if error is None:
            self.assert_no_traceback()

    # --- the process -------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def origin(self) -> str:
        """``public_url``, for configurations that leave it out."""
        return f"http://localhost:{self.port}"

    def start(self) -> None:
        """Start it, and return when it answers requests."""
        began = time.monotonic()
        super().start()
        self.startup = time.monotonic() - began

    def run_command(self) -> list[str]:
        """Return the command that ``start`` runs in ``environment``."""
        return [COMMAND, "run", "-c", str(self.config)]

    def surroundings(self) -> dict[str, Any]:
        return {"env": self.environment, "pass_fds": self.passed}

    def rewrite(self, config: str) -> None:
        """Put another configuration in the file, without telling the process."""
        self.config.write_text(config, encoding="utf-8")

    def memory(self) -> int:
        """Bytes of memory that it holds now."""
        return self._status("VmRSS")

    def peak_memory(self) -> int:
        """Bytes of memory that it held at most since ``forget_peak``, or since its start."""
        return self._status("VmHWM")

    def forget_peak(self) -> None:
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def _status(self, name: str) -> int:
        text = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(rf"^{name}:\s*([0-9]+) kB$", text, re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024

    def _answers(self) -> bool:
        try:
            return self.get("/_gateway/health").status == 200
        except OSError:
            return False

    # --- its surface -------------------------------------------------------------------------

    def get(self, path: str, **headers: str) -> http.client.HTTPResponse:
        """Ask the public listener over a connection of its own; the answer is read."""
        return _get(self.port, path, headers)

    def admin(self, path: str) -> tuple[int, str]:
        """Return status and body that the admin listener answers."""
        answer = _get(self.admin_port, path, {})
        return answer.status, answer.read().decode()

    def sessions(self, *words: str) -> Any:
        """Run ``gateway sessions … --json`` on the same configuration; return what it prints."""
        done = subprocess.run(
            self.sessions_command(*words),
            check=False,
            capture_output=True,
            env=self.environment,
            timeout=30,
        )
        assert done.returncode == 0, (words, done.stderr)
        return json.loads(done.stdout) if done.stdout else None

    def sessions_command(self, *words: str) -> list[str]:
        """Return that command, to be run in ``environment``."""
        return [COMMAND, "sessions", *words, "--json", "-c", str(self.config)]

    def sign_in(
        self,
        user: str,
        *,
        name: str | None = None,
        email: str | None = None,
        roles: Iterable[str] = (),
    ) -> SignedIn:
        """Return a new session, as scripts get one."""
        words = ["create", "--user", user]
        words += ["--name", name] if name is not None else []
        words += ["--email", email] if email is not None else []
        for role in roles:
            words += ["--role", role]
        return SignedIn(**self.sessions(*words))

    # --- what it said ------------------------------------------------------------------------

    def log(self, event: str | None = None) -> list[dict[str, Any]]:
        """Return the log lines so far, of one event or of all."""
        whole, _, _ = self.output().rpartition("\n")  # what follows is still being written
        lines = [json.loads(line) for line in whole.split("\n") if line.startswith("{")]
        return [line for line in lines if event in (None, line["event"])]

    def requests(self, **fields: object) -> list[dict[str, Any]]:
        """Return the lines of the request log whose fields have these values."""
        return [
            line
            for line in self.log("request")
            if all(line.get(name) == value for name, value in fields.items())
        ]

    def assert_no_traceback(self) -> None:
        """Fail the test if something unforeseen was printed or logged."""
        assert "Traceback" not in self.output(), self.output()
        unforeseen = [line for line in self.log() if "exception" in line]
        assert unforeseen == [], unforeseen


class SignedIn:
    """A session made for a test."""

    def __init__(self, *, id: str, cookie: str, expires: str) -> None:  # noqa: A002
        self.id = id
        self.cookie = cookie
        """``name=value``, ready for ``Cookie``."""
        self.expires = expires
        self.cookie_name, _, self.token = cookie.partition("=")


def _get(port: int, path: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Connection": "close", **headers})
        return connection.getresponse()
    finally:
        connection.close()
