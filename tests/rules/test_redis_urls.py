from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rules.redis_urls import Deployment, RedisUrl, absolute, is_redis, parse_redis_url

HERE = Path("/etc/gateway")
ALONE = Deployment.ALONE
LOCAL = (("localhost", 6379),)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param(
            "redis://localhost", RedisUrl(deployment=ALONE, hosts=LOCAL), id="a host alone"
        ),
        pytest.param(
            "redis://Redis.Internal:7000/12",
            RedisUrl(deployment=ALONE, hosts=(("redis.internal", 7000),), database=12),
            id="port and database",
        ),
        pytest.param(
            "redis://[::1]:7000/",
            RedisUrl(deployment=ALONE, hosts=(("::1", 7000),)),
            id="IPv6",
        ),
        pytest.param(
            "redis://:hunter2@localhost",
            RedisUrl(deployment=ALONE, hosts=LOCAL, password="hunter2"),
            id="a password alone",
        ),
        pytest.param(
            "redis://ad%40:p%3A%2F%3F%23@localhost",
            RedisUrl(deployment=ALONE, hosts=LOCAL, username="ad@", password="p:/?#"),
            id="percent-encoded",
        ),
        pytest.param(
            "rediss://localhost",
            RedisUrl(deployment=ALONE, hosts=LOCAL, tls=True),
            id="TLS",
        ),
        pytest.param(
            "rediss://localhost/1?ssl_ca_certs=ca.pem&ssl_certfile=/a%20b/c.pem&ssl_keyfile=k.pem"
            "&ssl_check_hostname=False",
            RedisUrl(
                deployment=ALONE,
                hosts=LOCAL,
                database=1,
                tls=True,
                ca=HERE / "ca.pem",
                cert=Path("/a b/c.pem"),
                key=HERE / "k.pem",
                check_hostname=False,
            ),
            id="files, relative to the folder",
        ),
        pytest.param(
            "redis+sentinel://u:p@one,two:7001/2?service=mymaster",
            RedisUrl(
                deployment=Deployment.SENTINEL,
                hosts=(("one", 26379), ("two", 7001)),
                database=2,
                username="u",
                password="p",
                service="mymaster",
            ),
            id="Sentinels",
        ),
        pytest.param(
            "redis+sentinel://one/mymaster",
            RedisUrl(deployment=Deployment.SENTINEL, hosts=(("one", 26379),), service="mymaster"),
            id="the service as a path",
        ),
        pytest.param(
            "redis+sentinel://one,two/my%20master/2",
            RedisUrl(
                deployment=Deployment.SENTINEL,
                hosts=(("one", 26379), ("two", 26379)),
                database=2,
                service="my master",
            ),
            id="service and database as a path",
        ),
        pytest.param(
            "redis+sentinel://one/1?service_name=7",
            RedisUrl(
                deployment=Deployment.SENTINEL, hosts=(("one", 26379),), database=1, service="7"
            ),
            id="the service as redis-py calls it",
        ),
        pytest.param(
            "rediss://one?ssl_cert_reqs=required",
            RedisUrl(deployment=Deployment.ALONE, hosts=(("one", 6379),), tls=True),
            id="certificates that are checked anyway",
        ),
        pytest.param(
            "rediss+sentinel://one/?service=s&sentinel_username=u&sentinel_password=p%2B%26",
            RedisUrl(
                deployment=Deployment.SENTINEL,
                hosts=(("one", 26379),),
                service="s",
                sentinel_username="u",
                sentinel_password="p+&",
                tls=True,
            ),
            id="credentials of Sentinels",
        ),
        pytest.param(
            "redis+cluster://one:7000,[::1]:7001,three",
            RedisUrl(
                deployment=Deployment.CLUSTER,
                hosts=(("one", 7000), ("::1", 7001), ("three", 6379)),
            ),
            id="a Cluster",
        ),
    ],
)
def test_what_a_url_says(url: str, expected: RedisUrl) -> None:
    assert parse_redis_url(url, HERE) == expected
    assert is_redis(url)
    assert parse_redis_url(absolute(url, HERE), Path("/elsewhere")) == expected


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("", id="nothing"),
        pytest.param("redis:localhost", id="no slashes"),
        pytest.param("redis://", id="no host"),
        pytest.param("http://localhost", id="another scheme"),
        pytest.param("redis+unix://localhost", id="no such deployment"),
        pytest.param("redis://localhost:0", id="port 0"),
        pytest.param("redis://localhost:65536", id="a port too high"),
        pytest.param("redis://localhost:٣", id="a port in other digits"),
        pytest.param("redis://:hunter2@localhost:port/0", id="a port that is none"),
        pytest.param("redis://:hun/ter2@localhost", id="a slash in the password"),
        pytest.param("redis://:hun?ter2=@localhost", id="a question mark in the password"),
        pytest.param("redis://:hun#ter2@local host", id="a space"),
        pytest.param("redis://localhost/zero", id="a database that is none"),
        pytest.param("redis://localhost/0/1", id="two databases"),
        pytest.param("redis://localhost#0", id="a fragment"),
        pytest.param("redis://one,two", id="several hosts without Sentinels"),
        pytest.param("redis+cluster://one,,two", id="an empty host"),
        pytest.param("redis+cluster://one/3", id="a database of a Cluster"),
        pytest.param("redis+sentinel://one", id="Sentinels without a service"),
        pytest.param("redis+sentinel://one?service=", id="an empty service"),
        pytest.param("redis+sentinel://one/a?service=b", id="two services"),
        pytest.param("redis+sentinel://one/a?service=a", id="a service said twice"),
        pytest.param("redis+sentinel://one/a/b", id="a service and no database"),
        pytest.param("redis+sentinel://one/0/a", id="a service behind the database"),
        pytest.param("redis+sentinel://one//0", id="an empty service in the path"),
        pytest.param("redis://one?service=s", id="a service without Sentinels"),
        pytest.param("redis://one?ssl_ca_certs=ca.pem", id="a file without TLS"),
        pytest.param("rediss://one?ssl_cert_reqs=none", id="TLS that checks nothing"),
        pytest.param("rediss://one?ssl_check_hostname=maybe", id="neither true nor false"),
        pytest.param("rediss://one?ssl_keyfile=key.pem", id="a key without a certificate"),
        pytest.param("rediss://one?hunter2", id="an option without a value"),
    ],
)
def test_what_is_refused_is_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected|options|several|Cluster|goes with") as caught:
        parse_redis_url(url)
    assert "hun" not in str(caught.value)


def test_no_password_is_shown() -> None:
    url = "redis+sentinel://u:hunter2@one?service=s&sentinel_password=hunter3"
    assert "hunter" not in repr(parse_redis_url(url))


@given(st.text(), st.sampled_from(["redis://", "rediss+cluster://", "redis+sentinel://"]))
def test_any_text_is_understood_or_refused(text: str, scheme: str) -> None:
    try:
        read = parse_redis_url(scheme + text)
    except ValueError:
        return
    assert all(host and 0 < port < 65536 for host, port in read.hosts)
