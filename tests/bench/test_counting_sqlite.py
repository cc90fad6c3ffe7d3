"""Statements of a process are counted where nobody else would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.bench.counting_sqlite import read

WORK = """
import sqlite3, sys
from pathlib import Path
from tests.bench.counting_sqlite import write
write(Path(sys.argv[1]))
db = sqlite3.connect(":memory:", timeout=1.0, isolation_level=None)
db.execute("CREATE TABLE sessions (key, touched_at)")
db.executemany("INSERT INTO sessions VALUES (?, ?)", [("a", 1), ("b", 2)])
db.execute("UPDATE sessions SET touched_at = ?1 WHERE key = ?2", (3, "a"))
assert db.execute("SELECT touched_at FROM sessions").fetchall() == [(3,), (2,)]
"""


def test_statements_and_touches_are_counted(tmp_path: Path) -> None:
    counts = tmp_path / "counts"
    subprocess.run([sys.executable, "-c", WORK, str(counts)], check=True, timeout=30)
    assert read(counts) == (4, 1)
