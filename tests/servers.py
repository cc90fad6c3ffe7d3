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
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
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


class Process(ABC):
    """A program of our own on a free loopback port, and what it printed.

    Subclasses say what is run, and how one sees that it answers. As a context manager it is
    started, and at the end stopped.

    Args:
        name: For messages.
        output: The file that gets what it prints.
    """

    patience = 10.0
    """Seconds until it answers."""

    def __init__(self, name: str, output: Path) -> None:
        self.port = free_port()
        self._name = name
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def run_command(self) -> Sequence[str | Path]:
        """Return the command that ``start`` runs."""

    def surroundings(self) -> dict[str, Any]:
        """Return what else ``Popen`` is told."""
        return {}

    @abstractmethod
    def _answers(self) -> bool: ...

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            if self._process is not None:
                self.kill()
            raise
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self._started.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it, and return when it answers."""
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                self.run_command(), stdout=output, stderr=output, **self.surroundings()
            )
        wait_for(self._is_up, seconds=self.patience, what=f"{self._name} answers")

    def stop(self) -> int:
        """Ask it to stop, wait until it has, and return its exit status."""
        self.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self, seconds: float = 15.0) -> int:
        """Wait until it has ended, and return its exit status."""
        return self._started.wait(seconds)

    def kill(self) -> None:
        """Let it die as in a power cut."""
        self.send_signal(signal.SIGKILL)
        self.wait()

    def pause(self) -> None:
        """Let it hang: connections are accepted, nothing is answered."""
        self.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo ``pause``."""
        self.send_signal(signal.SIGCONT)

    def send_signal(self, number: int) -> None:
        """Do nothing if it has ended."""
        self._started.send_signal(number)

    def output(self) -> str:
        """Everything it printed so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def _is_up(self) -> bool:
        if not self.running:
            pytest.fail(f"{self._name} ended at once:\n{self.output()}")
        return self._answers()


class Server(Process):
    """A process in a folder of its own. What it keeps there survives ``stop`` and ``start``."""

    def __init__(self, name: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix=f"{name}-test-")
        super().__init__(name, self.folder / "log")

    @property
    def folder(self) -> Path:
        return Path(self._folder.name)

    @property
    def data(self) -> Path:
        """Where it writes down what it keeps."""
        return self.folder

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.resume()
        self.stop()
        self._folder.cleanup()

    def on_disk(self) -> bytes:
        """Return all that the server has written down."""
        files = (path for path in self.data.rglob("*") if path.is_file())
        return b"".join(path.read_bytes() for path in files)


class RedisServer(Server):
    """A redis-server of our own."""

    def __init__(self, *options: str) -> None:
        super().__init__("redis-server")
        self._options = options

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def run_command(self) -> list[str]:
        command = [program("redis-server", "redis-server"), "--port", str(self.port)]
        command += ["--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        return [*command, *self._options]

    def stop(self) -> int:
        """End it; what it held is on disk."""
        self.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.wait(3.0)  # it may wait longer than that for a lost replica
        self.kill()
        return self.wait()

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

    def _answers(self) -> bool:
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


class PostgresServer(Server):
    """A PostgreSQL server of our own.

    Args:
        options: Settings, as ``name=value``.
        password: What its user has to give; empty: nobody is asked.
        files: Copied into its folder, where settings find them by their names.
    """

    patience = 20.0

    def __init__(self, *options: str, password: str = "", files: Sequence[Path] = ()) -> None:
        super().__init__("postgres")
        self.password = password
        self._files = files
        self._options = options
        self._as_whom = as_postgres()
        self._give(self.folder)

    @property
    def url(self) -> str:
        return self.url_of("gateway")

    def url_of(self, user: str, database: str = "postgres") -> str:
        password = f":{self.password}" if self.password else ""
        return f"postgresql://{user}{password}@127.0.0.1:{self.port}/{database}"

    def __enter__(self) -> Self:
        command = [program("initdb", "postgresql"), "--pgdata", str(self.data), "--no-sync"]
        command += ["--username", "gateway", "--encoding", "UTF8", "--no-locale"]
        if self.password:
            file = self.folder / "password"
            file.write_text(self.password)
            self._give(file)
            command += ["--auth", "scram-sha-256", "--pwfile", str(file)]
        else:
            command += ["--auth", "trust"]
        done = subprocess.run(command, check=False, capture_output=True, **self._as_whom)
        assert done.returncode == 0, done.stderr.decode()
        for file in self._files:
            self._give(Path(shutil.copy(file, self.data)))
        return super().__enter__()

    def run_command(self) -> list[str]:
        command = [program("postgres", "postgresql"), "-D", str(self.data), "-p", str(self.port)]
        settings = ["listen_addresses=127.0.0.1", "unix_socket_directories=", *self._options]
        return command + [word for setting in settings for word in ("-c", setting)]

    def surroundings(self) -> dict[str, Any]:
        return self._as_whom

    def stop(self) -> int:
        """End it; what it held is on disk."""
        super().send_signal(signal.SIGINT)
        return self.wait(20.0)

    def send_signal(self, number: int) -> None:
        """Tell all its processes."""
        if not self.running:
            return
        # Its first process first: it starts the others.
        super().send_signal(number)
        for status in Path("/proc").glob("[0-9]*/stat"):
            with suppress(ProcessLookupError, FileNotFoundError):
                # pid (name) state parent …
                parent = status.read_text().rpartition(")")[2].split()[1]
                if int(parent) == self.pid:
                    os.kill(int(status.parent.name), number)

    def command(self, sql: str, *, database: str = "postgres") -> str:
        """Return what ``psql`` prints, as somebody does who works on the server by hand."""
        call = [program("psql", "postgresql"), "--no-psqlrc", "-Atq", "-v", "ON_ERROR_STOP=1"]
        call += ["-c", sql, self.url_of("gateway", database)]
        return subprocess.run(call, check=True, capture_output=True, text=True).stdout.strip()

    def on_disk(self) -> bytes:
        self.command("CHECKPOINT")
        return super().on_disk()

    def _give(self, path: Path) -> None:
        if self._as_whom:
            shutil.chown(path, "postgres", "postgres")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def _answers(self) -> bool:
        call = [program("pg_isready", "postgresql"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(call, check=False).returncode == 0


class Pooler(Server):
    """A PgBouncer in front of a PostgreSQL server."""

    def __init__(self, server: PostgresServer, mode: str) -> None:
        super().__init__("pgbouncer")
        self.url = f"postgresql://gateway@127.0.0.1:{self.port}/postgres"
        self._config = self.folder / "pgbouncer.ini"
        self._config.write_text(
            "[databases]\n"
            f"postgres = host=127.0.0.1 port={server.port} user=gateway\n"
            "[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\n"
            f"auth_type = any\npool_mode = {mode}\n"
        )
        self._as_whom = as_postgres()
        if self._as_whom:
            shutil.chown(self.folder, "postgres")

    def run_command(self) -> list[str]:
        return [program("pgbouncer", "pgbouncer"), "--quiet", str(self._config)]

    def surroundings(self) -> dict[str, Any]:
        return self._as_whom

    def _answers(self) -> bool:
        return listens(self.port)
