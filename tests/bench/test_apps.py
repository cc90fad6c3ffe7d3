"""Cookies for measurements are those of the frameworks, and none comes twice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest

from tests.bench.apps import AppName, app
from tests.servers import RedisServer


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.mark.parametrize("name", ["nextauth", "authjs", "iron-session", "express-session"])
def test_every_cookie_is_another_one_and_all_come_again(name: AppName, redis: RedisServer) -> None:
    cookies = list(islice(app(name, redis.url), 1500))
    assert len(set(cookies)) == 1500
    assert list(islice(app(name, redis.url), 1500)) == cookies
