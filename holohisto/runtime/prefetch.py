"""Working ahead by threads, in order, with a bounded lead."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    ahead: int | None = None,
) -> Iterator[Result]:
    """Yield `function(item)` for every item, in the items' order.

    `workers` threads run at most `ahead` (default twice the workers) calls ahead of the consumer,
    so memory stays bounded; 0 workers call in the consumer's thread. The results do not depend on
    the number of workers. An error of a call is raised in the order of the items.
    """
    if workers == 0:
        yield from map(function, items)
        return
    pending: deque[Future[Result]] = deque()
    lead = ahead or 2 * workers
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                pending.append(pool.submit(function, item))
                if len(pending) > lead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def ahead(items: Iterable[Item], length: int) -> Iterator[Item]:
    """Yield `items`, drawn by a separate thread that is at most `length` + 1 items ahead.

    An error is raised in the order of the items. When the consumer stops early, the thread ends
    after its current item.
    """
    waiting: queue.Queue[tuple[bool, Any]] = queue.Queue(length)
    stopped = threading.Event()
    thread = threading.Thread(target=_draw, args=(iter(items), waiting, stopped), daemon=True)
    thread.start()
    try:
        while True:
            more, item = waiting.get()
            if more:
                yield item
            elif item is None:
                return
            else:
                raise item
    finally:
        stopped.set()
        thread.join()


def _draw(
    items: Iterator[Any], waiting: queue.Queue[tuple[bool, Any]], stopped: threading.Event
) -> None:
    def put(entry: tuple[bool, Any]) -> None:
        while not stopped.is_set():
            try:
                return waiting.put(entry, timeout=0.1)
            except queue.Full:
                continue

    try:
        for item in items:
            put((True, item))
            if stopped.is_set():
                break
        put((False, None))
    except BaseException as error:
        put((False, error))
    finally:
        if hasattr(items, "close"):
            items.close()  # pyright: ignore
