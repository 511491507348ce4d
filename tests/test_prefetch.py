import threading

import pytest

from holohisto.prefetch import prefetch


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
