"""How long each part of the benchmark may take."""

import time
from collections.abc import Callable


class Budget:
    """Divides a time limit among parts that run one after the other.

    A part may take its own seconds and all that the parts before it left over, but never those
    of the parts after it.
    """

    def __init__(
        self, limit: float, seconds: dict[str, float], clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Start the clock.

        Args:
            limit: Seconds for everything.
            seconds: Of each part, in the order in which they run.
            clock: Returns seconds that only grow.
        """
        self.limit, self.seconds, self._clock = limit, seconds, clock
        self._start = clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    def allowed(self, part: str) -> float:
        """Return the seconds that a part which starts now may take, 0 if none are left."""
        names = list(self.seconds)
        later = sum(self.seconds[name] for name in names[names.index(part) + 1 :])
        return max(0.0, self.limit - self.elapsed - later)
