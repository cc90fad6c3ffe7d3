"""The file of the SQLite store fails under a real gateway, or the gateway dies while it writes:
a clear error, no half session, and nobody signed in or out by it.

``make faults`` kills it for ``GATEWAY_FAULTS`` seconds.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sqlite3
import stat
import subprocess
from collections.abc import AsyncIterator
from http.client import HTTPException
from pathlib import Path
from time import monotonic

import pytest

from tests.gateway_process import GatewayProcess, cheap_hash
from tests.integration.browser import Visitor
from tests.servers import program, wait_until
from tests.stores_faults.load import echo

LONG = float(os.environ.get("GATEWAY_FAULTS", "0"))
KILLS = 3
PASSWORD = "correct horse"
USERS = ("ada", *(f"user{number}" for number in range(8)))
PAGE = 4096
"""Bytes of a page in SQLite's files."""

CONFIG = """
version: 1
server: {listen: "127.0.0.1:${PORT}", admin: "127.0.0.1:${ADMIN_PORT}", request_log: false}
session: {store: "sqlite:///sessions.db", secret: "a secret of a test, 32 characters and more"}
login: {providers: [{id: local, type: users, file: users.yaml}]}
upstreams: {app: "http://127.0.0.1:${UPSTREAM}"}
routes:
  - {path: /app, access: login}
  - {path: /public, access: public}
"""


NOBODY = Visitor(0)


class ModestGateway(GatewayProcess):
    """A gateway whom file modes keep out, even if it is root's."""

    def run_command(self) -> list[str]:
        command = super().run_command()
        if os.geteuid() == 0:
            command = [program("setpriv", "util-linux"), "--bounding-set=-dac_override", *command]
        return command


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[GatewayProcess]:
    """A gateway that is not started."""
    hashed = cheap_hash(PASSWORD)
    users = "".join(f"  {user}: {{password: {hashed!r}}}\n" for user in USERS)
    (tmp_path / "users.yaml").write_text(f"users:\n{users}")
    async with echo() as upstream:
        yield ModestGateway(tmp_path, CONFIG, UPSTREAM=upstream)


@pytest.fixture
def file(gateway: GatewayProcess) -> Path:
    return gateway.folder / "sessions.db"


async def statuses(gateway: GatewayProcess, path: str, *visitors: Visitor) -> set[int]:
    """Return what these visitors are answered, none of whom takes a new cookie."""

    def ask() -> set[int]:
        copies = [Visitor(gateway.port, dict(visitor.cookies)) for visitor in visitors]
        return {copy.get(path, Accept="*/*").status for copy in copies}

    return await asyncio.to_thread(ask)


def sign_in(gateway: GatewayProcess, user: str = "ada") -> Visitor:
    visitor = Visitor(gateway.port)
    assert visitor.sign_in(user, PASSWORD).status == 303
    return visitor


def assert_whole(file: Path, gateway: GatewayProcess) -> None:
    """Fail the test where the file, or a session in it, is broken."""
    db = sqlite3.connect(file)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        kept: int = db.execute("SELECT count(*) FROM sessions").fetchone()[0]
    finally:
        db.close()
    assert len(gateway.sessions("list")) == kept  # each can be read


# --- killed --------------------------------------------------------------------------------------


async def test_killed_while_it_writes_it_keeps_every_promise_and_nothing_by_halves(
    gateway: GatewayProcess, file: Path
) -> None:
    signed_in: list[Visitor] = []
    signed_out: list[Visitor] = []

    def come_and_go(user: str) -> None:
        """Sign in again and again, and every other time out; remember what was confirmed."""
        try:
            while True:
                stays, goes = sign_in(gateway, user), sign_in(gateway, user)
                signed_in.append(stays)
                before = Visitor(gateway.port, dict(goes.cookies))
                if goes.sign_out().status == 303:
                    signed_out.append(before)
        except (OSError, HTTPException):
            return  # killed

    gateway.start()
    until = monotonic() + LONG
    for number in range(1, 1_000_000):
        served = len(signed_in) + 10
        visitors = [asyncio.create_task(asyncio.to_thread(come_and_go, user)) for user in USERS]
        await wait_until(lambda: len(signed_in) > served, seconds=20.0)  # noqa: B023
        gateway.kill()
        await asyncio.gather(*visitors)
        gateway.start()
        assert await statuses(gateway, "/app", *signed_in) == {200}
        assert await statuses(gateway, "/app", *signed_out) == {401}
        if number >= KILLS and monotonic() > until:
            break
        signed_in.clear()
        signed_out.clear()
    assert gateway.stop() == 0
    assert_whole(file, gateway)
    assert gateway.log("corrupt_record") == []


# --- no room -------------------------------------------------------------------------------------


async def test_on_a_full_disk_who_is_signed_in_stays_so_and_who_wants_to_is_told_to_wait(
    gateway: GatewayProcess, file: Path
) -> None:
    with gateway:
        stays = await asyncio.to_thread(sign_in, gateway)
        goes = await asyncio.to_thread(sign_in, gateway)
        assert await statuses(gateway, "/app", stays) == {200}
        # No file may grow beyond this: a disk that is full for one process alone.
        unlimited = resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, (16 << 10, unlimited[1]))
        page = await asyncio.to_thread(Visitor(gateway.port).sign_in, "ada", PASSWORD)
        assert (page.status, page.headers["Set-Cookie"]) == (503, None)
        assert int(page.headers["Retry-After"]) > 0
        # Who cannot be signed out is not told that they were.
        token = await asyncio.to_thread(goes.form_token)
        page = await asyncio.to_thread(goes.post, "/_gateway/auth/signout", {"csrfToken": token})
        assert page.status == 503
        assert await statuses(gateway, "/app", stays, goes) == {200}
        assert await statuses(gateway, "/public", NOBODY) == {200}

        resource.prlimit(gateway.pid, resource.RLIMIT_FSIZE, unlimited)

        async def recovered() -> bool:
            visitor = Visitor(gateway.port)
            page = await asyncio.to_thread(visitor.sign_in, "ada", PASSWORD)
            return page.status == 303 and await statuses(gateway, "/app", visitor) == {200}

        await wait_until(recovered, seconds=2.0, what="there is room again, and no restart needed")
        assert await statuses(gateway, "/app", stays) == {200}
    assert_whole(file, gateway)


# --- a file that cannot be used ------------------------------------------------------------------


async def test_a_file_that_may_not_be_written_is_named_at_the_start(
    gateway: GatewayProcess, file: Path
) -> None:
    with gateway:
        await asyncio.to_thread(sign_in, gateway)
    file.chmod(stat.S_IRUSR)
    said = await refused_to_start(gateway)
    assert str(file) in said
    assert "attempt to write a readonly database" in said


async def test_a_file_that_is_no_database_is_named_at_the_start(
    gateway: GatewayProcess, file: Path
) -> None:
    file.write_bytes(b"no database " * 1000)
    said = await refused_to_start(gateway)
    assert str(file) in said
    assert "file is not a database" in said


async def refused_to_start(gateway: GatewayProcess) -> str:
    """Return the one line that it says when it does not start."""
    done = await asyncio.to_thread(
        lambda: subprocess.run(
            gateway.run_command(),
            check=False,
            capture_output=True,
            text=True,
            env=gateway.environment,
            timeout=15,
        )
    )
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("gateway run: ")
    return line


async def test_a_file_with_broken_pages_answers_503_and_signs_nobody_in_or_out(
    gateway: GatewayProcess, file: Path
) -> None:
    with gateway:
        visitor = await asyncio.to_thread(sign_in, gateway)
    whole = file.read_bytes()
    db = sqlite3.connect(file)
    [root] = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'sessions'").fetchone()
    db.close()
    file.write_bytes(whole[: (root - 1) * PAGE] + bytes(PAGE) + whole[root * PAGE :])
    with gateway:
        assert await statuses(gateway, "/app", visitor) == {503}
        assert await statuses(gateway, "/public", NOBODY) == {200}
        ready, reasons = await asyncio.to_thread(gateway.admin, "/readyz")
        assert ready == 503
        assert "database disk image is malformed" in reasons
        other = await asyncio.to_thread(Visitor(gateway.port).sign_in, "ada", PASSWORD)
        assert (other.status, other.headers["Set-Cookie"]) == (503, None)
    # Whoever puts a copy back has everybody signed in again.
    file.write_bytes(whole)
    with gateway:
        assert await statuses(gateway, "/app", visitor) == {200}
