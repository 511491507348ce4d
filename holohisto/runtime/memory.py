"""A limit on the memory of this process, as the last wall against files that claim too much."""

import contextlib
import resource
from collections.abc import Generator
from pathlib import Path


@contextlib.contextmanager
def at_most(more: int) -> Generator[None, None, None]:
    """Let this process reserve at most `more` bytes of addresses beyond those it has.

    Beyond it, allocations fail: Python raises MemoryError, libraries report errors of their own.
    Nothing changes where the system does not state the size of the process.
    """
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * resource.getpagesize() + more
    known = [limit for limit in before if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min([wanted, *known]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
