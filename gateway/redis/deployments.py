"""From the URL of a Redis store to the servers that hold the sessions."""

from __future__ import annotations

from gateway.redis.cluster import Cluster
from gateway.redis.sentinel import NamedBySentinels
from gateway.redis.servers import OneServer, Servers
from gateway.rules.redis_urls import Deployment, RedisUrl

_SHARE = 0.9
"""Of the time that a request has, for one server: its silence must be noticed, and the connection
given up, before nobody waits for it any more."""


def open_servers(url: RedisUrl, timeout: float) -> Servers:
    """Return what knows which server to ask; connections are made when they are needed.

    Args:
        timeout: Seconds that a request may take, whatever it needs.

    Raises:
        ValueError: A file for TLS cannot be used.
    """
    timeout *= _SHARE
    match url.deployment:
        case Deployment.SENTINEL:
            return NamedBySentinels(url, timeout)
        case Deployment.CLUSTER:
            return Cluster(url, timeout)
        case Deployment.ALONE:
            return OneServer(url, timeout)
