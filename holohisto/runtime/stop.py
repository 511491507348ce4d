"""Being asked to stop (SIGTERM: a time limit, preemption) between two steps of long work."""

import contextlib
import signal
import sys
import threading
from collections.abc import Generator


class Interruption:
    """Notes the signal instead of ending the process at once."""

    def __init__(self) -> None:
        """Not asked yet."""
        self.number: int | None = None

    @contextlib.contextmanager
    def awaited(self) -> Generator["Interruption", None, None]:
        """Take the signals SIGTERM and SIGUSR1 while inside."""
        if threading.current_thread() is not threading.main_thread():
            yield self  # only the main thread gets signals
            return
        signals = (signal.SIGTERM, signal.SIGUSR1)
        before = {one: signal.signal(one, self._note) for one in signals}
        try:
            yield self
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def end(self) -> None:
        """End the process as the signal would have."""
        assert self.number is not None
        sys.exit(128 + self.number)

    def _note(self, number: int, frame: object) -> None:
        self.number = number
