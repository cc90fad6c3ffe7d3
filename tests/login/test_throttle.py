from __future__ import annotations

import pytest

from gateway.login.throttle import FREE_FAILURES, LONGEST_WAIT, REMEMBERED_FOR, Throttle

HERE = "192.0.2.1"


def failed(times: int, *, client: str = HERE) -> tuple[Throttle, float]:
    """A throttle after so many failures as fast as it lets them, and the time then."""
    throttle, now = Throttle(), 0.0
    for _ in range(times):
        while (wait := throttle.wait("ada", client, now)) > 0:
            now += wait
    return throttle, now


@pytest.mark.parametrize(
    ("failures", "wait"),
    [
        (0, 0.0),
        (FREE_FAILURES - 1, 0.0),
        (FREE_FAILURES, 2.0),
        (FREE_FAILURES + 1, 4.0),
        (FREE_FAILURES + 4, 32.0),
        (FREE_FAILURES + 8, 512.0),
        (FREE_FAILURES + 9, 900.0),
        (FREE_FAILURES + 2000, 900.0),
    ],
)
def test_each_failure_beyond_the_free_ones_doubles_the_wait(failures: int, wait: float) -> None:
    throttle, now = failed(failures)
    assert throttle.wait("ada", HERE, now) == pytest.approx(wait)


def test_the_wait_is_over_to_the_second() -> None:
    throttle, now = failed(FREE_FAILURES)
    assert throttle.wait("ada", HERE, now + 1.5) == pytest.approx(0.5)
    assert throttle.wait("ada", HERE, now + 2.0) == 0.0


def test_an_attempt_during_the_wait_does_not_lengthen_it() -> None:
    throttle, now = failed(FREE_FAILURES)
    for _ in range(50):
        assert throttle.wait("ada", HERE, now) == 2.0


def test_attempts_that_begin_at_once_do_not_all_pass() -> None:
    throttle = Throttle()
    passed = [throttle.wait("ada", HERE, 0.0) for _ in range(100)].count(0.0)
    assert passed == FREE_FAILURES


def test_success_forgets_failures() -> None:
    throttle, now = failed(FREE_FAILURES)
    throttle.succeeded("ada", HERE)
    assert throttle.wait("ada", HERE, now) == 0.0


def test_an_attempt_that_was_not_checked_does_not_count() -> None:
    throttle = Throttle()
    for _ in range(100):
        assert throttle.wait("ada", HERE, 0.0) == 0.0
        throttle.withdraw("ada", HERE)


def test_failures_are_forgotten_in_the_end_and_not_by_waiting_the_longest_wait() -> None:
    throttle, now = failed(FREE_FAILURES + 20)
    assert throttle.wait("ada", HERE, now + LONGEST_WAIT) == 0.0
    assert throttle.wait("ada", HERE, now + LONGEST_WAIT) == LONGEST_WAIT
    for _ in range(FREE_FAILURES):
        assert throttle.wait("ada", HERE, now + LONGEST_WAIT + REMEMBERED_FOR) == 0.0


@pytest.mark.parametrize(
    ("user", "client", "waits"),
    [
        pytest.param("ada", HERE, True, id="the same"),
        pytest.param("bob", HERE, False, id="another user"),
        pytest.param("ada", "192.0.2.2", False, id="another address"),
    ],
)
def test_failures_count_for_one_user_at_one_address(user: str, client: str, waits: bool) -> None:
    throttle, now = failed(FREE_FAILURES)
    assert (throttle.wait(user, client, now) > 0) is waits


def test_an_ipv6_network_is_one_address() -> None:
    throttle, now = failed(FREE_FAILURES, client="2001:db8::1")
    assert throttle.wait("ada", "2001:db8::ffff:1", now) > 0
    assert throttle.wait("ada", "2001:db8:0:1::1", now) == 0.0


def test_a_unix_socket_has_no_address() -> None:
    throttle, now = failed(FREE_FAILURES, client="")
    assert throttle.wait("ada", "", now) > 0


def test_memory_is_bounded_and_the_oldest_go_first() -> None:
    throttle, now = failed(FREE_FAILURES)
    for number in range(9_999):
        throttle.wait(f"user{number}", HERE, now)
    assert throttle.wait("ada", HERE, now) > 0
    for number in range(10_000):
        throttle.wait(f"other{number}", HERE, now)
    assert throttle.wait("ada", HERE, now) == 0.0
