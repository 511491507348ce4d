"""Stopping between two steps of long work at SIGTERM or SIGUSR1: a time limit, preemption."""

import contextlib
import signal
import sys
import threading
from collections.abc import Generator


class Interruption:
    """Records the signal instead of ending the process at once."""

    def __init__(self) -> None:
        self.number: int | None = None

    @contextlib.contextmanager
    def awaited(self) -> Generator["Interruption", None, None]:
        """Handle SIGTERM and SIGUSR1 within the context."""
        if threading.current_thread() is not threading.main_thread():
            yield self  # only the main thread receives signals
            return
        signals = (signal.SIGTERM, signal.SIGUSR1)
        before = {number: signal.signal(number, self._note) for number in signals}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def end(self) -> None:
        """End the process as the signal would have."""
        assert self.number is not None
        sys.exit(128 + self.number)

    def _note(self, number: int, frame: object) -> None:
        self.number = number
