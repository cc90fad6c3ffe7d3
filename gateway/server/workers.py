"""The parent process: opens the sockets, keeps workers alive, hands signals and messages on.

It serves nothing itself and waits in one place, so that nothing can make it die or hang. Workers
are forked: they share the memory of what is loaded, and one that died is back in milliseconds.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import structlog

from gateway import __version__
from gateway.config.config import Config
from gateway.errors import ConfigError, GatewayError
from gateway.server.channel import (
    Channel,
    Count,
    CountAll,
    Counted,
    CountedAll,
    Failed,
    Message,
    Ready,
    Reload,
    Reloaded,
)
from gateway.server.listening import Sockets
from gateway.telemetry import totals
from gateway.telemetry.metrics import Metrics

log = structlog.get_logger()

Work = Callable[[int, Config, Channel], int]
"""Serve as the worker of that number; return the exit status. Runs in the worker's process, where
``BLOCKED`` signals wait until it can do as they say."""

_STOP = (signal.SIGTERM, signal.SIGINT)
BLOCKED = (*_STOP, signal.SIGHUP, signal.SIGCHLD)
_PATIENCE = 1.0
"""Seconds that workers have to tell their numbers."""
_RELOAD_PATIENCE = 30.0
_STEADY = 10.0
"""Seconds after which a worker that dies was no failure of its start."""
_LONGEST_PAUSE = 5.0
_TO_END = 5.0
"""Seconds beyond ``drain_timeout`` after which a worker is killed."""


def count_workers(workers: int | str) -> int:
    """Return how many there are to be; ``auto`` is one for each core that this process may use."""
    return len(os.sched_getaffinity(0)) if workers == "auto" else int(workers)


@dataclass(slots=True)
class _Worker:
    """One place for a worker, and who has it now."""

    number: int
    pid: int = 0
    channel: Channel | None = None
    started: float = 0.0
    pause: float = 0.0
    """Seconds to wait before the next start; grows while workers die young."""
    due: float = 0.0
    """When to start the next one, if there is none."""
    numbers: bytes | None = None
    """What it last told."""


@dataclass(slots=True)
class _Census:
    """A worker's question for everybody's numbers, while answers come in."""

    asker: _Worker
    pid: int
    ticket: int
    until: float
    missing: set[int]
    numbers: list[bytes] = field(default_factory=list)


class Parent:
    """Runs workers until it is told to stop.

    Args:
        reread: Returns the configuration that follows the given one.
        announce: Is called once, when every worker serves.
        mend: Is called when a worker was killed, maybe in the middle of a line of the log.
    """

    def __init__(
        self,
        config: Config,
        count: int,
        sockets: Sockets,
        work: Work,
        *,
        reread: Callable[[Config], Config],
        announce: Callable[[], None],
        mend: Callable[[], None],
    ) -> None:
        self._config = config
        self._sockets = sockets
        self._work = work
        self._reread = reread
        self._announce = announce
        self._mend = mend
        self._workers = [_Worker(number) for number in range(count)]
        self._selector = selectors.DefaultSelector()
        self._signals, self._waker = socket.socketpair()
        self._metrics = Metrics()  # of reloads; and of this process
        self._past: bytes | None = None
        self._asked: dict[int, _Census] = {}
        self._tickets = 0
        self._ready: set[int] = set()
        self._announced = False
        self._reloading: tuple[set[int], float] | None = None
        self._stopping_until: float | None = None
        self._failure: str | None = None

    def run(self) -> str | None:
        """Return when every worker has ended; a sentence if they could not even start."""
        for end in (self._signals, self._waker):
            end.setblocking(False)
        self._selector.register(self._signals, selectors.EVENT_READ)
        for number in BLOCKED:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self._waker.fileno())
        gc.freeze()  # what is here is shared by all workers
        self._start(self._workers[0])  # the others follow when the store is known to open
        while self._stopping_until is None or any(worker.pid for worker in self._workers):
            for key, _ in self._selector.select(self._patience()):
                if key.data is None:
                    self._heed()
                else:
                    self._hear(key.data)
            self._look_after()
        signal.set_wakeup_fd(-1)
        return self._failure

    def _patience(self) -> float:
        now = time.monotonic()
        moments = [worker.due for worker in self._workers if worker.due]
        moments += [census.until for census in self._asked.values()]
        if self._reloading is not None:
            moments.append(self._reloading[1])
        if self._stopping_until is not None:
            moments.append(self._stopping_until)
        if any(worker.channel and worker.channel.waiting for worker in self._workers):
            return 0.02
        return max(0.0, min(moments) - now) if moments else 3600.0

    def _look_after(self) -> None:
        now = time.monotonic()
        for worker in self._workers:
            if worker.channel is not None:
                worker.channel.flush()
            if worker.due and worker.due <= now and self._stopping_until is None:
                self._start(worker)
        for census in [c for c in self._asked.values() if c.until <= now]:
            self._answer(census)
        if self._reloading is not None and self._reloading[1] <= now:
            log.error("reload late", workers=sorted(self._reloading[0]))
            self._reloading = None
        if self._stopping_until is not None and self._stopping_until <= now:
            for worker in self._workers:
                if worker.pid:
                    log.error("worker killed", worker=worker.number, pid=worker.pid)
                    os.kill(worker.pid, signal.SIGKILL)
            self._stopping_until = now + _TO_END

    # --- signals -----------------------------------------------------------------------------

    def _heed(self) -> None:
        with suppress(BlockingIOError):
            while came := self._signals.recv(64):
                for number in dict.fromkeys(came):
                    if number in _STOP:
                        self._stop()
                    elif number == signal.SIGHUP:
                        self._reload()
                    elif number == signal.SIGCHLD:
                        self._reap()

    def _stop(self) -> None:
        if self._stopping_until is not None:
            return
        log.info("draining")
        self._sockets.narrow()
        self._sockets.close()  # the workers' own are the last
        self._stopping_until = time.monotonic() + self._config.server.drain_timeout + _TO_END
        for worker in self._workers:
            worker.due = 0.0
            if worker.pid:
                os.kill(worker.pid, signal.SIGTERM)

    def _reload(self) -> None:
        if self._stopping_until is not None:
            return
        try:
            config = self._reread(self._config)
        except ConfigError as error:
            self._refuse([str(problem) for problem in error.problems])
        except (GatewayError, OSError) as error:
            self._refuse([str(error)])
        else:
            self._config = config
            asked = {worker.number for worker in self._workers if worker.channel is not None}
            self._reloading = asked, time.monotonic() + _RELOAD_PATIENCE
            self._tell_all(Reload(config))

    def _refuse(self, problems: list[str]) -> None:
        self._metrics.reloads_failed += 1
        log.error("reload refused", problems=problems)

    def _reloaded(self, worker: _Worker, problem: str | None = None) -> None:
        if problem is not None:
            log.error("reload refused", worker=worker.number, problems=[problem])
        if self._reloading is None:
            return
        missing, _ = self._reloading
        missing.discard(worker.number)
        if not missing:
            self._reloading = None
            self._metrics.reloads_ok += 1
            log.info("reloaded", routes=len(self._config.table.routes))

    # --- workers -----------------------------------------------------------------------------

    def _start(self, worker: _Worker) -> None:
        worker.due = 0.0
        ours, theirs = socket.socketpair()
        signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED)  # not to be lost between two handlers
        try:
            pid = os.fork()
            if not pid:
                self._become(worker, ours, theirs)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, BLOCKED)
        theirs.close()
        worker.pid, worker.started = pid, time.monotonic()
        worker.channel = Channel(ours)
        self._selector.register(ours, selectors.EVENT_READ, worker)

    def _become(self, worker: _Worker, ours: socket.socket, theirs: socket.socket) -> None:
        """Be the worker. Never returns."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (*_STOP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the parent says what is to be read
            self._selector.close()
            for end in (ours, self._signals, self._waker):
                end.close()
            for other in self._workers:
                if other.channel is not None:
                    other.channel.close()
            self._sockets.keep(worker.number)
            status = self._work(worker.number, self._config, Channel(theirs))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _reap(self) -> None:
        for worker in self._workers:
            if worker.pid:
                pid, status = os.waitpid(worker.pid, os.WNOHANG)
                if pid:
                    self._mourn(worker, status)

    def _mourn(self, worker: _Worker, status: int) -> None:
        """Put another in the place of a worker that has ended."""
        pid, worker.pid = worker.pid, 0
        if os.WIFSIGNALED(status):
            self._mend()
        if worker.channel is not None:
            self._hear(worker)  # its last words
        self._hang_up(worker)
        if worker.numbers is not None:
            known = [self._past] if self._past is not None else []
            self._past = totals.lasting([*known, worker.numbers])
            worker.numbers = None
        for census in [c for c in self._asked.values() if worker.number in c.missing]:
            self._tick_off(census, worker)
        self._reloaded(worker)
        if self._stopping_until is not None:
            return
        young = time.monotonic() - worker.started < _STEADY
        if not self._announced:
            self._failure = self._failure or "a worker could not start"
            self._stop()
            return
        worker.pause = min(_LONGEST_PAUSE, worker.pause * 2 or 0.1) if young else 0.0
        worker.due = time.monotonic() + worker.pause
        log.error(
            "worker ended",
            worker=worker.number,
            pid=pid,
            status=os.waitstatus_to_exitcode(status),
            restart_in=worker.pause,
        )

    def _hang_up(self, worker: _Worker) -> None:
        if worker.channel is not None:
            with suppress(KeyError):
                self._selector.unregister(worker.channel.socket)
            worker.channel.close()
            worker.channel = None

    # --- messages ----------------------------------------------------------------------------

    def _hear(self, worker: _Worker) -> None:
        if worker.channel is None:
            return
        try:
            for message in worker.channel.receive():
                self._take(worker, message)
        except EOFError:
            self._hang_up(worker)  # it is about to end; SIGCHLD says so

    def _take(self, worker: _Worker, message: Message) -> None:
        match message:
            case Ready():
                self._is_ready(worker)
            case Failed(why):
                if not self._announced:
                    self._failure = why
                log.error("worker cannot serve", worker=worker.number, detail=why)
            case Reloaded(problem):
                self._reloaded(worker, problem)
            case CountAll(ticket, numbers):
                self._ask_all(worker, ticket, numbers)
            case Counted(ticket, numbers):
                worker.numbers = numbers
                if ticket in self._asked:
                    self._asked[ticket].numbers.append(numbers)
                    self._tick_off(self._asked[ticket], worker)

    def _is_ready(self, worker: _Worker) -> None:
        if self._announced:
            log.info("worker started", worker=worker.number, pid=worker.pid)
            return
        self._ready.add(worker.number)
        for other in self._workers:
            if not other.pid:
                self._start(other)
        if len(self._ready) == len(self._workers):
            self._announced = True
            self._announce()

    def _ask_all(self, asker: _Worker, ticket: int, numbers: bytes) -> None:
        asker.numbers = numbers
        self._tickets += 1
        others = [w for w in self._workers if w is not asker and w.channel is not None]
        census = self._asked[self._tickets] = _Census(
            asker,
            asker.pid,
            ticket,
            time.monotonic() + _PATIENCE,
            {worker.number for worker in others},
        )
        for worker in others:
            if worker.channel is not None:
                worker.channel.send(Count(self._tickets))
        if not others:
            self._answer(census)

    def _tick_off(self, census: _Census, worker: _Worker) -> None:
        census.missing.discard(worker.number)
        if not census.missing:
            self._answer(census)

    def _answer(self, census: _Census) -> None:
        self._asked = {t: c for t, c in self._asked.items() if c is not census}
        for worker in self._workers:  # who hangs has not counted down
            if worker.number in census.missing and worker.numbers is not None:
                census.numbers.append(worker.numbers)
        census.numbers.append(totals.snapshot(self._metrics.everything()))
        if self._past is not None:
            census.numbers.append(self._past)
        if census.asker.pid == census.pid and census.asker.channel is not None:
            census.asker.channel.send(CountedAll(census.ticket, tuple(census.numbers)))

    def _tell_all(self, message: Message) -> None:
        for worker in self._workers:
            if worker.channel is not None:
                worker.channel.send(message)


def announce(addresses: list[str], count: int) -> None:
    """Tell the operator that every worker serves."""
    log.info("listening", addresses=addresses, version=__version__, workers=count)
