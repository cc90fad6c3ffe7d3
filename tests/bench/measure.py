"""A proxy as it is measured: started, asked whether it works, CPU and memory of its processes."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from tests.bench.stores import Store

# Where Debian keeps servers, not on everybody's PATH; each version of PostgreSQL by itself.
_POSTGRES = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
PLACES = ":".join(["", "/usr/sbin", "/usr/local/sbin", *_POSTGRES])


class Unusable(Exception):
    """A row of the table that cannot be measured, and why."""


def program(name: str, hint: str) -> str:
    """Return an installed program's path; raise Unusable with a hint where it comes from."""
    own = Path(sys.executable).parent  # where wheels put programs
    path = shutil.which(name, path=f"{own}:{os.environ.get('PATH', '')}{PLACES}")
    if path is None:
        raise Unusable(f"not installed ({hint})")
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """How to start one proxy, and how to ask it.

    What answers has, below ``url``, what ``peers.upstream`` and ``echo.Upstream`` have there.
    """

    command: Sequence[str]
    folder: Path
    url: str
    """What is asked under load; it has 100 bytes."""
    headers: Mapping[str, str]
    echo_url: str = ""
    """What the upstream answers with the identity it was told; empty: not asked."""
    echo: str = ""
    """What it must say."""
    environment: Mapping[str, str] | None = None
    sign_in_url: str = ""
    """What answers with the cookie of a new session; empty: there are no sessions."""
    cookies: Sequence[str] = ()
    """The value of ``Cookie`` for each who has signed in."""
    visitors: Iterator[str] | None = None
    """Values of ``Cookie`` that were never sent yet; None: there are only those of ``cookies``."""
    first_seen: bool = False
    """Whether each request under load has one of these."""
    store: Store | None = None
    """Where sessions are."""


class Running:
    """A started proxy that has answered correctly; stopped on the way out.

    Args:
        users: How many sign in.
    """

    def __init__(self, proxy: Proxy, *, users: int = 1) -> None:
        self.proxy = proxy
        self._users = users
        self._log = proxy.folder / "output"

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self.proxy.command,
                cwd=self.proxy.folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(self.proxy.environment or {})},
            )
        try:
            self._wait_until_it_listens()
            if self.proxy.sign_in_url:
                self._sign_in()
            elif self.proxy.visitors is not None:
                self._ask_as(list(islice(self.proxy.visitors, self._users)))
            self._check()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def cpu_seconds(self) -> float:
        """Return user and system time of the process and all its children until now."""
        return cpu_seconds(self._process.pid)

    def memory(self) -> int:
        """Return the bytes that the process and its children have asked the system for.

        What they share counts once. Mapped files do not count: whose they are depends on what
        else the machine runs.
        """
        rollups = [
            Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in _family(self._process.pid)
        ]
        found = [re.search(r"^Pss_Anon: +(\d+) kB", rollup, re.MULTILINE) for rollup in rollups]
        return sum(1024 * int(size[1]) for size in found if size)

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _wait_until_it_listens(self) -> None:
        target = urlsplit(self.proxy.url)
        until = time.monotonic() + 20
        while True:
            if self._process.poll() is not None:
                raise Unusable(f"ended at once: {self._last_words()}")
            try:
                socket.create_connection((target.hostname, target.port), 5).close()
                return
            except OSError as error:
                if time.monotonic() > until:
                    raise Unusable(f"no answer within 20 s: {error}") from error
            time.sleep(0.02)

    def _sign_in(self) -> None:
        target = urlsplit(self.proxy.sign_in_url)
        connection = http.client.HTTPConnection(target.netloc, timeout=5)
        cookies = []
        for _ in range(self._users):
            connection.request("GET", target.path)
            with connection.getresponse() as answer:
                answer.read()
                given = [
                    line.partition(";")[0] for line in answer.headers.get_all("Set-Cookie", [])
                ]
            if not given:
                raise Unusable(f"no cookie came with {answer.status}: {self._last_words()}")
            cookies.append("; ".join(["theme=dark", *given]))
        connection.close()
        self._ask_as(cookies)
        if self.proxy.first_seen:
            # Whose fields are new as well, though their sessions are not.
            visits = (f"{cookie}; visit={at}" for at, cookie in enumerate(cycle(cookies)))
            self.proxy = replace(self.proxy, visitors=visits)

    def _ask_as(self, cookies: Sequence[str]) -> None:
        headers = {**self.proxy.headers, "Cookie": cookies[0]}
        self.proxy = replace(self.proxy, headers=headers, cookies=cookies)

    def _check(self) -> None:
        proxy = self.proxy
        try:
            status, body = ask(proxy.url, proxy.headers)
        except OSError as error:
            raise Unusable(f"no answer: {error}: {self._last_words()}") from error
        if status != 200 or len(body) != 100:
            raise Unusable(f"answered {status} with {len(body)} bytes: {self._last_words()}")
        if proxy.echo_url:
            status, body = ask(proxy.echo_url, proxy.headers)
            if body.decode() != proxy.echo:
                raise Unusable(f"the upstream was told {body.decode()!r}, not {proxy.echo!r}")

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace")[-500:].strip() or "without a word"


def cpu_seconds(pid: int) -> float:
    """Return user and system time until now of a process and all its children that there are."""
    ticks = {pid: used for pid, (_, used) in _processes().items()}
    return sum(ticks.get(one, 0) for one in _family(pid)) / os.sysconf("SC_CLK_TCK")


def _family(pid: int) -> set[int]:
    processes = _processes()
    family = {pid}
    while more := {
        pid for pid, (parent, _) in processes.items() if parent in family and pid not in family
    }:
        family |= more
    return family & processes.keys()


def _processes() -> dict[int, tuple[int, int]]:
    """Return parent and CPU ticks of every process."""
    found: dict[int, tuple[int, int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The name in brackets may hold spaces; what follows is fields 3 and on of proc(5).
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        found[int(entry.name)] = int(fields[1]), int(fields[11]) + int(fields[12])
    return found


def ask(url: str, headers: Mapping[str, str]) -> tuple[int, bytes]:
    """Return status and body of one GET, redirects not followed; OSError when nobody answers."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: object) -> None:
            return None

    request = urllib.request.Request(url, headers=dict(headers))
    try:
        with urllib.request.build_opener(Stay).open(request, timeout=5) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read()
