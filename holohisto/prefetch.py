"""Reading ahead: a function over items, in order, by threads, with a bounded lead."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

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
    the number of workers. An error of a call is raised at its place in the order.
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
