"""An operator's own Python: ``package.module:function`` or ``file.py:function``; or all of it."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

CALLBACKS: Mapping[str, tuple[str, ...]] = {
    "sign_in": ("user", "account"),
    "jwt": ("token", "user", "trigger", "session"),
    "session": ("session", "token", "user", "trigger", "new_session"),
}
"""What a module of callbacks may have, and the names of what each is given."""


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


class OwnCallback:
    """One of an operator's callbacks: takes everything by name, and uses what it asks for."""

    def __init__(self, name: str, function: Callable[..., Any], where: str) -> None:
        """Look at what it takes.

        Raises:
            ValueError: It cannot be called with what there is.
        """
        known = CALLBACKS[name]
        self._function = function
        self._taken = known
        self.asynchronous = inspect.iscoroutinefunction(function)
        try:
            parameters = inspect.signature(function).parameters.values()
        except ValueError:
            return  # of something written in C; it gets everything
        if any(one.kind is one.VAR_KEYWORD for one in parameters):
            return
        self._taken = tuple(one.name for one in parameters if one.name in known)
        for one in parameters:
            strange = one.name not in known and one.default is one.empty
            if one.kind is one.POSITIONAL_ONLY or (strange and one.kind is not one.VAR_POSITIONAL):
                raise ValueError(
                    f"{where}: {name} takes an argument that is not given by name; there are"
                    f" {', '.join(known)}"
                )

    def __call__(self, **named: Any) -> Any:
        """Call it with those of the values that it takes."""
        return self._function(**{name: named[name] for name in self._taken})


class OwnCallbacks:
    """A module of callbacks, run anew. Sent to another process, it is run anew there."""

    sign_in: OwnCallback | None
    jwt: OwnCallback | None
    session: OwnCallback | None

    def __init__(self, where: str, folder: Path) -> None:
        """Run the module ``file.py`` or ``package.module``.

        Args:
            folder: Where a file is looked for.

        Raises:
            ValueError: It cannot be used; the message says why, on one line.
        """
        self._named = where, folder
        module = _module(where, folder, anew=True)
        for name in CALLBACKS:
            function = getattr(module, name, None)
            if function is not None and not callable(function):
                raise ValueError(f"{where}: {name} is no function")
            callback = None if function is None else OwnCallback(name, function, where)
            setattr(self, name, callback)
        if self.sign_in is self.jwt is self.session is None:
            raise ValueError(f"{where} has none of {', '.join(CALLBACKS)}")

    def __reduce__(self) -> tuple[type[OwnCallbacks], tuple[str, Path]]:
        return OwnCallbacks, self._named


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


def _module(where: str, folder: Path, *, anew: bool = False) -> ModuleType:
    """Return a module, run anew at each load if it is a file, or if that is asked for."""
    file = folder / where
    if where.endswith(".py") and not file.is_file():
        raise ValueError(f"there is no file {where}")
    try:
        if not where.endswith(".py"):
            spec = importlib.util.find_spec(where) if anew else None
            if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
                return importlib.import_module(where)
            file = Path(spec.origin)
            return _run(file, spec.name, spec.parent or "")
        # Under no name that others could import.
        return _run(file, f"<{where}>", "")
    except (Exception, SystemExit) as exc:
        why = f"{type(exc).__name__}{_line(exc, file)}"
        raise ValueError(f"{where} cannot be imported: {why}") from exc


def _run(file: Path, name: str, package: str) -> ModuleType:
    """Run what is written in a file now: no other module of its name, and no compiled one."""
    module = ModuleType(name)
    module.__file__ = str(file)
    module.__package__ = package
    code = compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
    # Data classes look for their module there while they are made.
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        exec(code, module.__dict__)  # noqa: S102  importing is nothing else
    finally:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
    return module


def _line(exc: BaseException, file: Path) -> str:
    """Return in which line of a file something went wrong, if it was there."""
    if isinstance(exc, SyntaxError) and exc.filename == str(file):
        return f" in line {exc.lineno}"
    frames = traceback.extract_tb(exc.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    return f" in line {lines[-1]}" if lines else ""
