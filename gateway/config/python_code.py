"""An operator's own Python: ``package.module:function`` or ``file.py:function``."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any


class OwnFunction:
    """An operator's function. Sent to another process, it is loaded anew there."""

    def __init__(self, text: str, folder: Path) -> None:
        """Load it.

        Raises:
            ValueError: As ``load_function``.
        """
        self._named = text, folder
        self._function = load_function(text, folder)

    def __call__(self, *values: Any, **named: Any) -> Any:
        """Call it."""
        return self._function(*values, **named)

    def __reduce__(self) -> tuple[type[OwnFunction], tuple[str, Path]]:
        return OwnFunction, self._named


def load_function(text: str, folder: Path) -> Callable[..., Any]:
    """Return the function that this names. Its module runs, as importing does.

    Args:
        folder: Where a file is looked for.

    Raises:
        ValueError: There is none; the message says why, on one line.
    """
    where, separator, name = text.rpartition(":")
    if not (separator and where and name.isidentifier()):
        raise ValueError("expected package.module:function or file.py:function")
    function = getattr(_module(where, folder), name, None)
    if not callable(function):
        raise ValueError(f"{where} has no function {name}")
    return function  # type: ignore[no-any-return]


def _module(where: str, folder: Path) -> ModuleType:
    try:
        if not where.endswith(".py"):
            return importlib.import_module(where)
        file = folder / where
        if not file.is_file():
            raise ValueError(f"there is no file {where}")
        # Anew at each load, and under no name that others could import: a reload takes what is
        # written there now.
        spec = importlib.util.spec_from_file_location(file.stem, file)
        if spec is None or spec.loader is None:
            raise ValueError(f"{where} is no Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    except ValueError:
        raise
    except Exception as exc:
        raise ValueError(f"{where} cannot be imported: {type(exc).__name__}") from exc
    return module
