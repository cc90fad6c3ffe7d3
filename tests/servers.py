"""Real servers for tests: found, started on free loopback ports, stopped.

A server that is not installed fails the test that needs it, with a sentence saying what to install.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest


def free_port() -> int:
    """Return a loopback port that nobody listens on now.

    It is none of those that Linux gives to outgoing connections, of which one might have it by the
    time that a server is started there.
    """
    while True:
        with socket.socket() as listener, suppress(OSError):
            port = random.randrange(10_000, 32_768)
            listener.bind(("127.0.0.1", port))
            return port


def program(name: str, package: str) -> str:
    """Return the path of an installed program, or fail the test."""
    # Debian keeps servers in /usr/sbin, which an ordinary user's PATH leaves out, and each version
    # of PostgreSQL in a folder of its own.
    postgres = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    folders = [os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", *postgres]
    path = shutil.which(name, path=":".join(folders))
    if path is None:
        pytest.fail(f"{name} is needed by this test and not installed: apt-get install {package}")
    return path


def wait_for(condition: Callable[[], object], *, seconds: float = 5.0, what: str = "") -> None:
    """Return once the condition holds; fail the test when it does not in time. Blocks."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what or condition}")
        time.sleep(0.005)


async def wait_until(
    condition: Callable[[], object | Awaitable[object]], *, seconds: float = 5.0, what: str = ""
) -> float:
    """Return once the condition (a function, plain or async) holds, with the seconds it took.

    Fails the test when it does not in time. The event loop runs meanwhile.
    """
    start = time.monotonic()
    while True:
        holds = condition()
        if isinstance(holds, Awaitable):
            holds = await holds
        if holds:
            return time.monotonic() - start
        if time.monotonic() - start > seconds:
            pytest.fail(f"not within {seconds} s: {what or condition}")
        await asyncio.sleep(0.002)


def listens(port: int) -> bool:
    """Whether something accepts connections on this loopback port."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class RedisServer:
    """A redis-server of our own, in a folder of its own, on a free loopback port.

    What it keeps survives ``stop`` and ``start``. ``pause`` makes it accept connections and
    answer nothing, as a server does that hangs.
    """

    def __init__(self, *options: str) -> None:
        self.port = free_port()
        self._options = options
        self._folder = tempfile.TemporaryDirectory(prefix="redis-test-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.resume()
        self.stop()
        self._folder.cleanup()

    def start(self) -> None:
        """Start it, and return when it answers."""
        self.launch()
        wait_for(self._answers, seconds=10.0, what="redis-server answers")

    def launch(self) -> None:
        """Start it, and return at once."""
        command = [program("redis-server", "redis-server"), "--port", str(self.port)]
        command += ["--bind", "127.0.0.1", "--dir", self._folder.name]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        with (Path(self._folder.name) / "log").open("ab") as log:
            self._process = subprocess.Popen([*command, *self._options], stdout=log, stderr=log)

    def stop(self) -> None:
        """End it; what it held is on disk."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(3)  # it may wait longer than that for a lost replica
            self.kill()

    def kill(self) -> None:
        """Let it die at once, as in a power cut."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def pause(self) -> None:
        """Let it hang: connections are accepted, nothing is answered."""
        if self._process is not None:
            self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo ``pause``."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def command(self, *words: str, options: Sequence[str] = ()) -> str:
        """Return what ``redis-cli`` prints, as somebody does who works on the server by hand."""
        call = [program("redis-cli", "redis-tools"), "-p", str(self.port), *options, *words]
        return subprocess.run(call, check=True, capture_output=True, text=True).stdout

    def replicated(self) -> bool:
        """Whether every replica has all that was written."""
        said = self.command("INFO", "replication")
        [offset] = re.findall(r"^master_repl_offset:(\d+)", said, re.MULTILINE)
        replicas = re.findall(r"^slave\d+:.*offset=(\d+)", said, re.MULTILINE)
        return all(int(each) >= int(offset) for each in replicas)

    def on_disk(self) -> bytes:
        """Return all that the server has written down."""
        files = (path for path in Path(self._folder.name).rglob("*") if path.is_file())
        return b"".join(path.read_bytes() for path in files)

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            log = (Path(self._folder.name) / "log").read_text(errors="replace")
            pytest.fail(f"redis-server ended at once:\n{log}")
        # An error about a missing password will do as well: the file is loaded.
        try:
            with socket.create_connection(("127.0.0.1", self.port), 0.5) as probe:
                probe.settimeout(0.5)
                probe.sendall(b"PING\r\n")
                answer = probe.recv(64)
        except OSError:
            return False
        return answer.startswith((b"+PONG", b"-NOAUTH"))


def as_postgres() -> dict[str, Any]:
    """Return as whom to start what refuses to run as root: for root, ``postgres``."""
    if os.geteuid() != 0:
        return {}
    program("initdb", "postgresql")  # its package brings the user
    return {"user": "postgres", "group": "postgres", "extra_groups": []}


class PostgresServer:
    """A PostgreSQL server of our own, in a folder of its own, on a free loopback port.

    Args:
        options: Settings, as ``name=value``.
        password: What its user has to give; empty: nobody is asked.
        files: Copied into its folder, where settings find them by their names.
    """

    def __init__(self, *options: str, password: str = "", files: Sequence[Path] = ()) -> None:
        self.port = free_port()
        self.password = password
        self._files = files
        self._options = options
        self._folder = tempfile.TemporaryDirectory(prefix="postgres-test-")
        self._process: subprocess.Popen[bytes] | None = None
        self._as_whom = as_postgres()
        self._give(Path(self._folder.name))

    @property
    def url(self) -> str:
        return self.url_of("gateway")

    def url_of(self, user: str, database: str = "postgres") -> str:
        password = f":{self.password}" if self.password else ""
        return f"postgresql://{user}{password}@127.0.0.1:{self.port}/{database}"

    def __enter__(self) -> Self:
        command = [program("initdb", "postgresql"), "--pgdata", self._data, "--no-sync"]
        command += ["--username", "gateway", "--encoding", "UTF8", "--no-locale"]
        if self.password:
            file = Path(self._folder.name) / "password"
            file.write_text(self.password)
            self._give(file)
            command += ["--auth", "scram-sha-256", "--pwfile", str(file)]
        else:
            command += ["--auth", "trust"]
        done = subprocess.run(command, check=False, capture_output=True, **self._as_whom)
        assert done.returncode == 0, done.stderr.decode()
        for file in self._files:
            self._give(Path(shutil.copy(file, self._data)))
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.resume()
        self.stop()
        self._folder.cleanup()

    def start(self) -> None:
        """Start it, and return when it answers."""
        self.launch()
        wait_for(self._answers, seconds=20.0, what="postgres answers")

    def launch(self) -> None:
        """Start it, and return at once."""
        command = [program("postgres", "postgresql"), "-D", self._data, "-p", str(self.port)]
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", *self._options]
        command += [word for setting in settings for word in ("-c", setting)]
        with (Path(self._folder.name) / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **self._as_whom)

    def stop(self) -> None:
        """End it; what it held is on disk."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)
            self._process = None

    def kill(self) -> None:
        """Let it die, with all its processes, as in a power cut."""
        if self._process is not None:
            self._signal_all(signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    def pause(self) -> None:
        """Let it hang: connections are accepted, nothing is answered."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo ``pause``."""
        self._signal_all(signal.SIGCONT)

    def command(self, sql: str, *, database: str = "postgres") -> str:
        """Return what ``psql`` prints, as somebody does who works on the server by hand."""
        call = [program("psql", "postgresql"), "--no-psqlrc", "-Atq", "-v", "ON_ERROR_STOP=1"]
        call += ["-c", sql, self.url_of("gateway", database)]
        return subprocess.run(call, check=True, capture_output=True, text=True).stdout.strip()

    def _give(self, path: Path) -> None:
        if self._as_whom:
            shutil.chown(path, "postgres", "postgres")

    def on_disk(self) -> bytes:
        """Return all that the server has written down."""
        self.command("CHECKPOINT")
        files = (path for path in Path(self._data).rglob("*") if path.is_file())
        return b"".join(path.read_bytes() for path in files)

    @property
    def _data(self) -> str:
        return str(Path(self._folder.name) / "data")

    def _signal_all(self, number: int) -> None:
        if self._process is None:
            return
        # Its first process first: it starts the others.
        self._process.send_signal(number)
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(ProcessLookupError, FileNotFoundError):
                # pid (name) state parent …
                parent = status.read_text().rpartition(")")[2].split()[1]
                if int(parent) == self._process.pid:
                    os.kill(int(status.parent.name), number)

    def _answers(self) -> bool:
        if self._process is None or self._process.poll() is not None:
            log = (Path(self._folder.name) / "log").read_text(errors="replace")
            pytest.fail(f"postgres ended at once:\n{log}")
        call = [program("pg_isready", "postgresql"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(call, check=False).returncode == 0


class Pooler:
    """A PgBouncer in front of a PostgreSQL server."""

    def __init__(self, server: PostgresServer, mode: str) -> None:
        self.port = free_port()
        self.url = f"postgresql://gateway@127.0.0.1:{self.port}/postgres"
        self._config = Path(tempfile.mkdtemp(prefix="pooler-test-")) / "pgbouncer.ini"
        self._config.write_text(
            "[databases]\n"
            f"postgres = host=127.0.0.1 port={server.port} user=gateway\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = {mode}\n"
        )
        as_whom = as_postgres()
        if as_whom:
            shutil.chown(self._config.parent, "postgres")
        self._as_whom = as_whom

    def __enter__(self) -> Self:
        command = [program("pgbouncer", "pgbouncer"), "--quiet", str(self._config)]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL, **self._as_whom)
        wait_for(lambda: listens(self.port), what="pgbouncer listens")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        shutil.rmtree(self._config.parent)
