"""Reading the text of a configuration or users file."""

from __future__ import annotations

from pathlib import Path

from gateway.config.source import position_of
from gateway.errors import ConfigError, Problem


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        OSError, ValueError: It cannot be read; ValueError for a name that no file can have.
        ConfigError: It is not UTF-8.
    """
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig")
        line, column = position_of(before, len(before))
    raise ConfigError([Problem(str(path), line, column, "", "the file is not UTF-8 text")])
