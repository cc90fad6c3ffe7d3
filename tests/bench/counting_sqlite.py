"""A gateway whose SQLite statements are counted: ``counting_sqlite.py COUNTS run -c config.yaml``.

SQLite runs in the process that uses it, and tells nobody what it was asked. Its own trace would
write out each statement with its values; counting alone takes 0.4 µs a statement.
"""

from __future__ import annotations

import mmap
import sqlite3
import struct
import sys
from itertools import count
from pathlib import Path
from typing import Any

from gateway.cli.main import main

_COUNTS = struct.Struct("=QQ")
_TOUCH = "UPDATE sessions SET touched_at"


def read(file: Path) -> tuple[int, int]:
    """Return statements and touches until now."""
    statements, touches = _COUNTS.unpack(file.read_bytes())
    return statements, touches


def write(file: Path) -> None:
    """Count every statement of this process from now on, for whoever reads that file."""
    file.write_bytes(bytes(_COUNTS.size))
    with file.open("r+b") as opened:
        shared = mmap.mmap(opened.fileno(), _COUNTS.size)
    # Several threads count, and next() is one step.
    statements, touches = count(1), count(1)
    connect = sqlite3.connect

    def note(sql: str) -> None:
        struct.pack_into("=Q", shared, 0, next(statements))
        if sql.startswith(_TOUCH):
            struct.pack_into("=Q", shared, 8, next(touches))

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
            note(sql)
            return super().execute(sql, *values)

        def executemany(self, sql: str, rows: Any) -> sqlite3.Cursor:
            note(sql)
            return super().executemany(sql, rows)

    def counted(path: Any, **options: Any) -> sqlite3.Connection:
        return connect(path, factory=Connection, **options)

    sqlite3.connect = counted  # type: ignore[assignment]  # one of its many forms


if __name__ == "__main__":
    write(Path(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
