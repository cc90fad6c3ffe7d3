"""Redis on several servers, all on loopback: one primary with Sentinels, and a Cluster."""

from __future__ import annotations

import re
import subprocess
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from tests.servers import RedisServer, Server, free_port, listens, program, wait_for

SERVICE = "sessions"

_LOST_AFTER = 700
"""Milliseconds after which a server that does not answer counts as lost."""

# What was written stays when a server is killed: the machine goes on.
_COMMON = ("--repl-diskless-sync-delay", "0", "--appendfsync", "no")


class Certificates:
    """A CA of our own in a folder, and what it signed for 127.0.0.1: ``server`` and ``client``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._make("ca", "-addext", "keyUsage=critical,keyCertSign")
        for name in ("server", "client"):
            signed = ("-CA", "ca.pem", "-CAkey", "ca.key")
            self._make(name, *signed, "-addext", "subjectAltName=IP:127.0.0.1")

    @property
    def of_a_server(self) -> list[str]:
        """Options for a server, which asks its clients for a certificate."""
        pair = ["--tls-cert-file", f"{self.folder}/server.pem"]
        pair += ["--tls-key-file", f"{self.folder}/server.key"]
        return [*pair, "--tls-ca-cert-file", f"{self.folder}/ca.pem"]

    @property
    def in_a_url(self) -> str:
        """Options for a client, as the URL of a store has them."""
        pair = f"ssl_certfile={self.folder}/client.pem&ssl_keyfile={self.folder}/client.key"
        return f"ssl_ca_certs={self.folder}/ca.pem&{pair}"

    @property
    def for_redis_cli(self) -> list[str]:
        """The same for redis-cli."""
        pair = ["--cert", f"{self.folder}/client.pem", "--key", f"{self.folder}/client.key"]
        return [*pair, "--cacert", f"{self.folder}/ca.pem"]

    def _make(self, name: str, *more: str) -> None:
        request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
        files = ["-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        call = [program("openssl", "openssl"), *request.split(), *files, *more]
        subprocess.run(call, cwd=self.folder, check=True, capture_output=True)


class _Sentinel(Server):
    """What watches a primary.

    Args:
        primary: Its port.
        tell: More lines for the configuration.
    """

    def __init__(self, primary: int, tell: str) -> None:
        super().__init__("sentinel")
        self._config = self.folder / "sentinel.conf"
        self._config.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {primary} 2\n"
            f"sentinel down-after-milliseconds {SERVICE} {_LOST_AFTER}\n"
            f"sentinel failover-timeout {SERVICE} 3000\n{tell}"
        )

    def run_command(self) -> list[str]:
        return [program("redis-server", "redis-server"), str(self._config), "--sentinel"]

    def _answers(self) -> bool:
        return listens(self.port)


class RedisSentinels:
    """A primary, a replica, and three Sentinels that watch them.

    Args:
        options: For the servers.
        tell: More lines for the Sentinels' configuration.
    """

    def __init__(self, *options: str, tell: str = "") -> None:
        self.servers = [RedisServer(*_COMMON, *options) for _ in range(2)]
        self._sentinels = [_Sentinel(self.servers[0].port, tell) for _ in range(3)]
        self.ports = [sentinel.port for sentinel in self._sentinels]
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        sentinels = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        return f"redis+sentinel://{sentinels}/0?service={SERVICE}"

    def __enter__(self) -> Self:
        with self._stack:
            first, second = map(self._stack.enter_context, self.servers)
            second.command("REPLICAOF", "127.0.0.1", str(first.port))
            for sentinel in self._sentinels:
                self._stack.enter_context(sentinel)
            wait_for(self.whole, seconds=20.0, what="Sentinels and replica are ready")
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def primary(self) -> RedisServer:
        """Return the server that two Sentinels call the primary."""
        words = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE)
        named = [self._ask(port, *words).split()[-1:] for port in self.ports]
        for server in self.servers:
            if named.count([str(server.port)]) >= 2:
                return server
        return self.primary()

    def whole(self) -> bool:
        """Whether every Sentinel knows the others, and a replica that keeps up."""
        for port in self.ports:
            words = self._ask(port, "SENTINEL", "MASTER", SERVICE).split("\n")
            said = dict(zip(words[::2], words[1::2], strict=False))
            if said.get("num-slaves") != "1" or said.get("num-other-sentinels") != "2":
                return False
            if said.get("flags") != "master":
                return False
        return "state=online" in self.primary().command("INFO", "replication")

    def fail_over(self) -> None:
        """Let the Sentinels choose another primary, though nothing is broken."""
        assert "OK" in self._ask(self.ports[0], "SENTINEL", "FAILOVER", SERVICE)

    def _ask(self, port: int, *words: str) -> str:
        call = [program("redis-cli", "redis-tools"), "-p", str(port), *words]
        return subprocess.run(call, check=False, capture_output=True, text=True).stdout


class RedisCluster:
    """A Cluster of three primaries, with a replica each where asked for.

    Args:
        options: For the servers.
        tls: Of them and us, where they talk through TLS; ``command`` goes past it all the same.
    """

    def __init__(
        self, *options: str, replicas: bool = False, tls: Certificates | None = None
    ) -> None:
        self._tls = tls
        options = (
            *("--cluster-enabled", "yes", "--cluster-node-timeout", str(_LOST_AFTER)),
            *(*_COMMON, *options),
        )
        self.servers: list[RedisServer] = []
        self.ports: list[int] = []
        for _ in range(6 if replicas else 3):
            # Its usual port for the Cluster's own talk, 10000 above, may be taken or none at all.
            own = ["--cluster-port", str(free_port())]
            port = free_port()
            if tls is not None:
                own += ["--tls-port", str(port), "--tls-cluster", "yes", "--tls-replication", "yes"]
                own += tls.of_a_server
            self.servers.append(RedisServer(*own, *options))
            self.ports.append(port if tls is not None else self.servers[-1].port)
        self._replicas = int(replicas)
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports[:3])
        if self._tls is None:
            return f"redis+cluster://{hosts}"
        return f"rediss+cluster://{hosts}?{self._tls.in_a_url}"

    def __enter__(self) -> Self:
        with self._stack:
            for server in self.servers:
                self._stack.enter_context(server)
            call = [program("redis-cli", "redis-tools"), "--cluster", "create", "--cluster-yes"]
            call += [f"127.0.0.1:{port}" for port in self.ports]
            call += ["--cluster-replicas", str(self._replicas)]
            if self._tls is not None:
                call += ["--tls", *self._tls.for_redis_cli]
            subprocess.run(call, check=True, capture_output=True)
            wait_for(self.whole, seconds=20.0, what="the Cluster is ready")
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def whole(self) -> bool:
        """Whether every server sees all slots served, by primaries with replicas that keep up."""
        if not all("cluster_state:ok" in s.command("CLUSTER", "INFO") for s in self.servers):
            return False
        linked = [s for s in self.servers if "master_link_status:up" in s.command("INFO")]
        return len(linked) == 3 * self._replicas

    def owner(self, key: str) -> RedisServer:
        """Return the primary that has a key."""
        at = int(self.servers[0].command("CLUSTER", "KEYSLOT", key))
        for line in self.servers[0].command("CLUSTER", "NODES").splitlines():
            _, address, flags, _, _, _, _, _, *slots = line.split()
            for first, last in re.findall(r"(?:^| )(\d+)(?:-(\d+))?(?= |$)", " ".join(slots)):
                if "master" in flags and int(first) <= at <= int(last or first):
                    port = int(address.partition("@")[0].rpartition(":")[2])
                    return next(server for server in self.servers if server.port == port)
        raise LookupError(f"nobody owns slot {at}")

    def command(self, *words: str) -> str:
        """Return what ``redis-cli`` prints, which goes to the server that has the key."""
        return self.servers[0].command(*words, options=["-c"])

    def flush(self) -> None:
        """Forget everything."""
        for server in self.servers:
            if "role:master" in server.command("INFO", "replication"):
                server.command("FLUSHALL")
