"""Those who wait get what there is in their order, and whoever leaves takes nothing along."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gateway.errors import UpstreamDown
from gateway.upstream.waiting import Queue
from tests.servers import wait_until


class Shelf:
    """Things to be had, some of them by some only."""

    def __init__(self, length: int = 9, limit: float = 5.0) -> None:
        self.things: list[str] = []
        self.queue = Queue[str](length, limit, self.things.append)

    def want(self, *names: str) -> Callable[[], str | None]:
        def choose() -> str | None:
            found = next((name for name in self.things if not names or name in names), None)
            if found is not None:
                self.things.remove(found)
            return found

        return choose

    async def waiting(self, *wants: tuple[str, ...]) -> list[asyncio.Task[str]]:
        tasks = [asyncio.ensure_future(self.queue.wait(self.want(*names))) for names in wants]
        await wait_until(lambda: len(self.queue) == len(wants))
        return tasks


async def test_who_came_first_gets_first() -> None:
    shelf = Shelf()
    one, two, three = await shelf.waiting((), (), ())
    shelf.things += ["a", "b"]
    shelf.queue.admit(in_order=True)
    assert [await one, await two] == ["a", "b"]
    assert not three.done()
    shelf.things += ["c"]
    shelf.queue.admit(in_order=True)
    assert await three == "c"
    assert len(shelf.queue) == 0


@pytest.mark.parametrize(("in_order", "served"), [(True, False), (False, True)])
async def test_who_wants_something_else_passes_only_where_that_is_right(
    in_order: bool, served: bool
) -> None:
    shelf = Shelf()
    one, two = await shelf.waiting(("a",), ("b",))
    shelf.things += ["b"]
    shelf.queue.admit(in_order=in_order)
    assert len(shelf.queue) == (1 if served else 2)
    shelf.things += ["a"]
    shelf.queue.admit(in_order=False)
    assert [await one, await two] == ["a", "b"]


async def test_nobody_waits_for_ever() -> None:
    shelf = Shelf(limit=0.02)
    with pytest.raises(TimeoutError):
        await shelf.queue.wait(shelf.want())
    assert len(shelf.queue) == 0


async def test_a_queue_has_an_end() -> None:
    shelf = Shelf(length=2)
    tasks = await shelf.waiting((), ())
    assert shelf.queue.full
    tasks[0].cancel()
    await wait_until(lambda: not shelf.queue.full)
    shelf.things += ["a"]
    shelf.queue.admit(in_order=True)
    assert await tasks[1] == "a"


async def test_what_comes_to_who_is_leaving_goes_back() -> None:
    shelf = Shelf()
    [task] = await shelf.waiting(())
    shelf.things += ["a"]
    shelf.queue.admit(in_order=True)
    assert shelf.things == []
    task.cancel()  # before it could wake up
    with pytest.raises(asyncio.CancelledError):
        await task
    assert shelf.things == ["a"]


async def test_who_is_leaving_gets_nothing() -> None:
    shelf = Shelf()
    first, second = await shelf.waiting((), ())
    first.cancel()
    shelf.things += ["a"]
    shelf.queue.admit(in_order=True)
    assert await second == "a"
    assert first.cancelled()


async def test_what_can_never_be_had_is_said_to_all_who_wait() -> None:
    shelf = Shelf()

    def never() -> str | None:
        raise UpstreamDown("all are down", retry_after=1.0)

    tasks = [asyncio.ensure_future(shelf.queue.wait(never)) for _ in range(2)]
    await wait_until(lambda: len(shelf.queue) == 2)
    shelf.queue.admit(in_order=True)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [UpstreamDown] * 2
    assert len(shelf.queue) == 0
