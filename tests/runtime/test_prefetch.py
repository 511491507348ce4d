import threading
import time

import pytest

from holohisto.runtime.prefetch import ahead, prefetch


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_order_does_not_depend_on_the_workers(workers):
    assert list(prefetch(lambda n: n * n, range(50), workers)) == [n * n for n in range(50)]


def test_lead_is_bounded():
    started = []
    results = prefetch(lambda n: started.append(n), range(100), workers=2, ahead=3)
    next(results)
    assert len(started) <= 5
    results.close()
    assert len(started) <= 6
    assert threading.active_count() < 50


def test_an_error_comes_at_its_place():
    def fail_at_three(n):
        if n == 3:
            raise ValueError("three")
        return n

    results = prefetch(fail_at_three, range(10), workers=2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)


@pytest.mark.parametrize("length", [1, 4])
def test_items_ahead_keep_their_order_and_are_few(length):
    drawn = []
    results = ahead((drawn.append(n) or n for n in range(100)), length)
    assert next(results) == 0
    time.sleep(0.05)
    assert len(drawn) <= length + 2
    assert list(results) == list(range(1, 100))


def test_an_error_ahead_comes_at_its_place():
    def items():
        yield 1
        raise ValueError("two")

    results = ahead(items(), 3)
    assert next(results) == 1
    with pytest.raises(ValueError, match="two"):
        next(results)


def test_who_stops_early_ends_the_thread_and_closes_its_items():
    closed = []

    def items():
        try:
            yield from range(1000)
        finally:
            closed.append(True)

    before = threading.active_count()
    results = ahead(items(), 2)
    next(results)
    results.close()
    assert threading.active_count() == before
    assert closed == [True]
