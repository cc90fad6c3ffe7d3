"""The gateway's log lines reach their reader, and no reader can hold the gateway up."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.telemetry.lines import LineWriter
from tests.servers import wait_for

LINE = b'{"event":"request"}\n'
STALLED = 200_000  # bytes; a pipe holds 64 KiB, a socket pair about 208 KiB


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            continue  # the test closed it


def read_all(reader: int, count: int) -> bytes:
    got = b""
    while len(got) < count and (more := os.read(reader, 65536)):
        got += more
    return got


def test_lines_arrive_in_order(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    writer = LineWriter(fd)
    writer.write(b"one\ntwo\n")
    writer.write(b"three\n")
    assert os.read(reader, 100) == b"one\ntwo\nthree\n"
    writer.close()


def test_a_regular_file_is_continued_where_it_ends(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_bytes(b"before\n")
    with file.open("ab") as stream:
        writer = LineWriter(stream.fileno())
        writer.write(LINE)
        writer.close()
    assert file.read_bytes() == b"before\n" + LINE


def test_a_socket_is_written_to(tmp_path: Path) -> None:
    near, far = socket.socketpair()
    with near, far:
        writer = LineWriter(near.fileno())
        writer.write(LINE)
        assert far.recv(100) == LINE
        writer.close()


def test_a_reader_of_a_pipe_that_stalls_holds_nobody_up(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    writer = LineWriter(fd)
    lines = LINE * (STALLED // len(LINE))
    writer.write(lines)
    assert 0 < writer.waiting < len(lines)
    got = b""
    while writer.waiting:  # each write tries again
        got += os.read(reader, 65536)
        writer.write(b"")
    writer.close()
    assert got + read_all(reader, len(lines) - len(got)) == lines
    assert writer.dropped == 0


def test_a_reader_of_a_socket_that_stalls_holds_nobody_up() -> None:
    near, far = socket.socketpair()
    with near, far:
        writer = LineWriter(near.fileno())
        lines = LINE * (4 * STALLED // len(LINE))
        writer.write(lines)
        assert writer.waiting > 0
        got = b""
        while writer.waiting:
            got += far.recv(65536)
            writer.write(b"")
        writer.close()
        near.shutdown(socket.SHUT_WR)
        while more := far.recv(65536):
            got += more
        assert got == lines


def test_what_nobody_reads_is_dropped_beyond_a_limit(pipe: tuple[int, int]) -> None:
    _, fd = pipe
    writer = LineWriter(fd)
    chunk = LINE * 1000
    for _ in range(500):
        writer.write(chunk)
    assert writer.waiting <= 4 * 1024 * 1024
    assert writer.dropped > 5 * 1024 * 1024
    writer.close(timeout=0)


def test_a_reader_that_leaves_breaks_nothing(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    writer = LineWriter(fd)
    os.close(reader)
    writer.write(LINE)
    writer.write(LINE)
    assert (writer.dropped, writer.waiting) == (2 * len(LINE), 0)
    writer.close()


def test_closing_waits_for_a_stalled_reader_only_so_long(pipe: tuple[int, int]) -> None:
    _, fd = pipe
    writer = LineWriter(fd)
    writer.write(LINE * (STALLED // len(LINE)))
    began = time.monotonic()
    writer.close(timeout=0.05)
    assert time.monotonic() - began < 1.0
    writer.close()  # twice is fine
    assert writer.dropped > 0


def test_the_flags_of_the_shared_stream_stay_as_they_were(pipe: tuple[int, int]) -> None:
    _, fd = pipe
    writer = LineWriter(fd)
    assert os.get_blocking(fd)
    writer.close()
    os.write(fd, b"the descriptor is still open\n")


def test_the_number_of_a_closed_stream_is_not_written_to(tmp_path: Path) -> None:
    log = (tmp_path / "log").open("wb")
    writer = LineWriter(log.fileno())
    number = log.fileno()
    log.close()
    with (tmp_path / "other").open("wb") as other:
        assert other.fileno() == number  # what the kernel gives away next
        writer.write(LINE)
        writer.close()
    assert (tmp_path / "other").read_bytes() == b""
    assert (tmp_path / "log").read_bytes() == LINE


def test_lines_of_two_writers_on_one_pipe_do_not_mix(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    a, b = LineWriter(fd), LineWriter(fd)
    for writer, letter in ((a, b"a"), (b, b"b")):
        writer.write((letter * 99 + b"\n") * 1000)  # both stall within the pipe's 64 KiB
    got = b""
    while a.waiting or b.waiting:
        got += os.read(reader, 5000)
        b.write(b"")
        a.write(b"")
    got += read_all(reader, 200_000 - len(got))
    assert set(got.splitlines()) == {b"a" * 99, b"b" * 99}
    a.close()
    b.close()


@pytest.mark.parametrize("reopened", [True, False], ids=["own flags", "poll"])
def test_a_line_longer_than_a_piece_is_written_whole(
    pipe: tuple[int, int], reopened: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, fd = pipe
    if not reopened:  # as on macOS, where there is no /proc
        monkeypatch.setattr("os.open", refuse)
    writer = LineWriter(fd)
    line = b"x" * 20_000 + b"\n"
    writer.write(line + LINE)
    assert read_all(reader, 20_021) == line + LINE
    writer.close()


def refuse(*_: object) -> int:
    raise FileNotFoundError


KILLED = """
import os, sys
from gateway.telemetry.lines import LineWriter
from tests.servers import wait_for
writer = LineWriter(1)
lines = (sys.argv[1] * 299 + "\\n").encode() * 200
os.write(2, b".")
while True:
    writer.write(lines)
"""


def killed_while_writing(log: Path, letter: str) -> None:
    """Let a process write lines of one letter, and kill it in the middle of that."""
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, letter], stdout=stream, stderr=subprocess.PIPE
        )
    with process:
        assert process.stderr is not None
        assert process.stderr.read(1) == b"."
        began = log.stat().st_size
        wait_for(lambda: log.stat().st_size > began + 100_000)
        process.kill()


def test_of_a_writer_that_is_killed_no_half_line_stays_before_the_next(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for letter in "ab" * 4:
        killed_while_writing(log, letter)
        with log.open("ab") as stream:
            writer = LineWriter(stream.fileno())
            writer.mend()
            writer.write(LINE)
            writer.close()
        assert log.read_bytes().endswith(b"\n" + LINE)
    whole = {b"a" * 299, b"b" * 299, LINE.strip()}
    broken = [line for line in log.read_bytes().splitlines() if line not in whole]
    assert all(line in b"a" * 299 or line in b"b" * 299 for line in broken)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(b"", b"", id="nothing"),
        pytest.param(LINE, LINE, id="a whole line"),
        pytest.param(LINE + LINE[:7], LINE + LINE[:7] + b"\n", id="half a line"),
    ],
)
def test_half_a_line_is_ended(tmp_path: Path, before: bytes, after: bytes) -> None:
    log = tmp_path / "log"
    log.write_bytes(before)
    with log.open("ab") as stream:
        writer = LineWriter(stream.fileno())
        writer.mend()
        writer.close()
    assert log.read_bytes() == after


def test_a_pipe_needs_no_mending(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    writer = LineWriter(fd)
    writer.mend()
    writer.write(LINE)
    assert os.read(reader, 100) == LINE
    writer.close()
