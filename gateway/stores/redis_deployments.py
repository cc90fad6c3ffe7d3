"""From the URL of a Redis store to the servers that hold the sessions."""

from __future__ import annotations

from gateway.rules.redis_urls import Deployment, RedisUrl
from gateway.stores.redis_cluster import Cluster
from gateway.stores.redis_sentinel import NamedBySentinels
from gateway.stores.redis_servers import OneServer, Servers


def open_servers(url: RedisUrl, timeout: float) -> Servers:
    """Return what knows which server to ask; connections are made when they are needed.

    Args:
        timeout: Seconds that a server may take to answer.

    Raises:
        ValueError: A file for TLS cannot be used.
    """
    match url.deployment:
        case Deployment.SENTINEL:
            return NamedBySentinels(url, timeout)
        case Deployment.CLUSTER:
            return Cluster(url, timeout)
        case Deployment.ALONE:
            return OneServer(url, timeout)
