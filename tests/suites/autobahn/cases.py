"""Autobahn's case files, made to run under Python 3.

A ``str`` of Python 2 is a latin-1 ``str`` here. Nothing is written to ``sys.modules``: the files
see an ``import`` of their own.
"""

from __future__ import annotations

import binascii
import builtins
import codecs
import io
import re
import sys
import types
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Protocol

import pytest

from tests.suites.autobahn.deflate import PerMessageDeflateOffer

FOLDER = Path(sys.prefix) / "autobahn" / "autobahntestsuite-25.10.1" / "autobahntestsuite"
"""Where the Makefile puts them."""


class Case(Protocol):
    """A case, as Autobahn wrote it."""

    COUNT: int
    """How many messages it sends, where it is one of compression."""

    behavior: str
    behaviorClose: str  # noqa: N815
    result: str
    resultClose: str  # noqa: N815

    def __init__(self, endpoint: object) -> None: ...
    def onOpen(self) -> None: ...
    def onMessage(self, message: str | bytes, binary: bool) -> None: ...
    def onPing(self, payload: str) -> None: ...
    def onPong(self, payload: str) -> None: ...
    def onConnectionLost(self, failed_by_me: bool) -> None: ...


def load_cases() -> dict[str, type[Case]]:
    """Return the cases by their numbers, such as ``1.1.1``, in Autobahn's order.

    A case is made for the endpoint that it drives.
    """
    if not FOLDER.is_dir():
        pytest.fail(f"Autobahn's cases are needed and not in {FOLDER}: make suites fetches them")
    cases: Sequence[Any] = _CaseFiles(FOLDER).module("__init__").Cases
    return {case.__name__.removeprefix("Case").replace("_", "."): case for case in cases}


class Utf8Validator:
    """Autobahn's, over Python's decoder."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("strict")
        self._valid = True

    def validate(self, text: str) -> tuple[bool, bool, int, int]:
        """Return whether it is valid so far, whether it may end here, and lengths."""
        try:
            self._decoder.decode(text.encode("latin-1"))
        except UnicodeDecodeError:
            self._valid = False
        complete = self._valid and not self._decoder.getstate()[0]
        return self._valid, complete, len(text), len(text)


class _CaseFiles:
    """The modules of the cases, each loaded once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._modules = _stand_ins(folder)
        self._builtins = {
            **vars(builtins),
            "__import__": self._import,
            "open": _open,
            "xrange": range,
        }

    def module(self, name: str) -> ModuleType:
        """Return a module of the folder ``case``."""
        module = self._modules.get(name)
        if module is None:
            module = self._modules[name] = ModuleType(name)
            vars(module)["__builtins__"] = self._builtins
            path = self._folder / "case" / f"{name}.py"
            with warnings.catch_warnings():
                # Backslashes that Python 2 let stand.
                warnings.simplefilter("ignore", SyntaxWarning)
                warnings.simplefilter("ignore", DeprecationWarning)
                code = compile(_modernised(path.read_text("latin-1")), str(path), "exec")
            exec(code, vars(module))
            if name == "case":
                # Autobahn compares pickles, whose bytes differ for equal values under Python 3.
                module.Case.compare = lambda self, one, other: one == other
        return module

    def _import(
        self,
        name: str,
        globals: Mapping[str, object] | None = None,  # noqa: A002
        locals: Mapping[str, object] | None = None,  # noqa: A002
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        if name in self._modules or re.fullmatch(r"case(\d\w*)?", name):
            return self.module(name)
        return builtins.__import__(name, globals, locals, fromlist, level)


def _modernised(source: str) -> str:
    source = re.sub(r"^if __name__ == .*", "", source, flags=re.DOTALL | re.MULTILINE)
    source = re.sub(r"^(\s*)print .*$", r"\1pass", source, flags=re.MULTILINE)
    source = source.replace("(object, Case, )", "(Case, )")
    return source.replace("/ self.p.autoFragmentSize", "// self.p.autoFragmentSize")


def _stand_ins(folder: Path) -> dict[str, ModuleType]:
    """Return what the files import and Python 3 does not have."""
    return {
        "autobahn.websocket.protocol": _module(
            WebSocketProtocol=SimpleNamespace(
                STATE_CLOSED=0, STATE_CONNECTING=1, STATE_CLOSING=2, STATE_OPEN=3
            )
        ),
        "autobahn.websocket.utf8validator": _module(Utf8Validator=Utf8Validator),
        "autobahn.websocket.compress": _module(
            PerMessageDeflateOffer=PerMessageDeflateOffer,
            PerMessageDeflateOfferAccept=SimpleNamespace,
            PerMessageDeflateResponse=SimpleNamespace,
            PerMessageDeflateResponseAccept=SimpleNamespace,
        ),
        # For case 9.9.1, which Autobahn itself leaves out.
        "zope.interface": _module(implements=lambda *interfaces: None),
        "twisted.internet": _module(reactor=None, interfaces=SimpleNamespace(IPushProducer=None)),
        "binascii": _module(b2a_hex=_hexlify, hexlify=_hexlify),
        "pkg_resources": _module(resource_filename=lambda package, name: str(folder / name)),
    }


def _module(**names: object) -> ModuleType:
    module = types.ModuleType("stand-in")
    vars(module).update(names)
    return module


def _hexlify(data: str | bytes) -> str:
    return binascii.hexlify(data.encode("latin-1") if isinstance(data, str) else data).decode()


def _open(path: str, mode: str) -> io.BytesIO:
    """Open a file for cases, which never close what they open."""
    return io.BytesIO(Path(path).read_bytes())
