"""Joins the parent process and its workers."""

from __future__ import annotations

import os
import sys
from functools import partial

import structlog

from gateway.config.config import Config
from gateway.errors import GatewayError
from gateway.server.app import load_successor, new_form_secret
from gateway.server.channel import Channel
from gateway.server.listening import Sockets, open_sockets
from gateway.server.near import urls
from gateway.server.worker import work
from gateway.server.workers import Parent, announce
from gateway.telemetry.logs import configure

log = structlog.get_logger()


def serve_with_workers(config: Config, count: int) -> None:
    """Run a gateway of several processes until SIGTERM or SIGINT, then drain it.

    Raises:
        OSError: An address cannot be listened on.
        GatewayError: Something else that it needs cannot be had.
    """
    sockets = open_sockets(config.server, count, os.environ)
    writer = configure(sys.stdout)
    parent = Parent(
        config,
        count,
        sockets,
        partial(_work, sockets=sockets, form_secret=new_form_secret()),
        reread=load_successor,
        announce=partial(announce, urls(config.server, sockets), count),
        mend=writer.mend,
    )
    failure = parent.run()
    if failure is not None:
        writer.close()
        raise GatewayError(failure)
    log.info("stopped")


def _work(
    number: int, config: Config, channel: Channel, *, sockets: Sockets, form_secret: str
) -> int:
    return work(number, config, channel, sockets, form_secret)
