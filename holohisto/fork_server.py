"""A process that has imported everything and runs verbs in forks of itself, for small slides.

    python -m holohisto.fork_server SOCKET

It ends when its standard input does and no fork is left. See `holohisto.runtime.fork_client`.
"""

import atexit
import contextlib
import ctypes
import gc
import json
import math
import os
import selectors
import signal
import socket
import struct
import sys
import tempfile
import traceback
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

from holohisto import cli
from holohisto.errors import HolohistoError
from holohisto.runtime.fork_client import NUMBER, PACKAGE, SMALL_BYTES, STREAMS, VARIABLE, VERBS
from holohisto.slide.record import SlideRecord

LIBRARIES = ("openvino", "scipy.ndimage", "skimage.metrics", "PIL.JpegImagePlugin")
"""What verbs import while they run. Not libvips, which does not survive a fork."""
SMALL_PIXELS = 32_000_000
"""Pixels of a slide up to which its jobs are run here. Larger ones take much longer than imports,
and Snakemake's samples of their memory are of the job's own process."""
PATIENCE = 5.0
"""Seconds in which a job has to send its request."""
LONGEST_REQUEST = 2**24
"""Bytes of a request; Linux passes on an environment of a few megabytes."""
MISTAKES = (
    OSError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    RecursionError,
    struct.error,
)
"""Errors of requests that make no sense."""
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Fork:
    """A verb that runs."""

    process: int
    handle: int
    """File descriptor that becomes readable when the process ends."""
    connection: socket.socket
    """To the job that waits for it."""


class Server:
    """Forks for each job, and reports to the job how its fork has ended."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._events = selectors.DefaultSelector()
        self._forks: dict[int, Fork] = {}

    def serve(self) -> None:
        """Accept jobs until standard input ends, then wait for those that run."""
        self._events.register(self._listener, selectors.EVENT_READ, self._accept)
        self._events.register(sys.stdin, selectors.EVENT_READ, self._close)
        while self._events.get_map():
            for key, _ in self._events.select():
                key.data()

    def _close(self) -> None:
        self._events.unregister(sys.stdin)
        self._events.unregister(self._listener)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        process, streams = 0, []
        with contextlib.suppress(*MISTAKES):
            request, streams = _received(connection)
            if len(streams) == len(STREAMS) and _wanted(request):
                process = self._fork(request, streams)
        for stream in streams:
            os.close(stream)
        with contextlib.suppress(OSError):
            connection.sendall(NUMBER.pack(process))
        if not process:  # the job does its work itself
            connection.close()
            return
        fork = Fork(process, os.pidfd_open(process), connection)
        self._forks[process] = fork
        self._events.register(fork.handle, selectors.EVENT_READ, lambda: self._ended(fork))
        self._events.register(connection, selectors.EVENT_READ, lambda: self._left_alone(fork))

    def _fork(self, request: dict[str, Any], streams: list[int]) -> int:
        """Return the process that runs the request."""
        server = os.getpid()
        if process := os.fork():
            return process
        try:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != server:
                os._exit(1)
            self._listener.close()
            for fork in self._forks.values():
                fork.connection.close()
                os.close(fork.handle)
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
                os.close(stream)
        except BaseException:
            os._exit(1)
        _run(request)

    def _ended(self, fork: Fork) -> None:
        """Report the status of a fork to its job."""
        _, status = os.waitpid(fork.process, 0)
        del self._forks[fork.process]
        self._events.unregister(fork.handle)
        os.close(fork.handle)
        with contextlib.suppress(KeyError):
            self._events.unregister(fork.connection)
        with contextlib.suppress(OSError):
            fork.connection.sendall(NUMBER.pack(status))
        fork.connection.close()

    def _left_alone(self, fork: Fork) -> None:
        """End a fork whose job has been killed."""
        if fork.process in self._forks:  # not if it has ended a moment ago
            self._events.unregister(fork.connection)
            os.kill(fork.process, signal.SIGKILL)


def main(path: Path) -> int:
    """Serve until standard input ends; returns the exit code.

    The socket's folder is removed at the end.
    """
    os.environ.pop(VARIABLE, None)
    try:
        for name in [f"holohisto.commands.{verb}" for verb in sorted(VERBS)] + list(LIBRARIES):
            import_module(name)
        gc.freeze()  # a collection in a fork would copy the memory of all these objects
        if not _may_fork():
            return 1
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.bind(str(path))
            listener.listen(64)
            Server(listener).serve()
    finally:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()
    return 0


def _may_fork() -> bool:
    """Return whether no library has started a thread, and Linux is 5.3 or newer."""
    with contextlib.suppress(OSError, AttributeError):
        os.close(os.pidfd_open(os.getpid()))
        return len(os.listdir("/proc/self/task")) == 1
    return False


def _received(connection: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """Receive a request and the standard streams of the job."""
    connection.settimeout(PATIENCE)
    header, streams, _, _ = socket.recv_fds(connection, NUMBER.size, len(STREAMS))
    try:
        length = NUMBER.unpack(header)[0]
        if not 0 < length <= LONGEST_REQUEST:
            raise ValueError("no request")
        text = connection.recv(length, socket.MSG_WAITALL)
        connection.settimeout(None)
        return json.loads(text), streams
    except BaseException:
        for stream in streams:
            os.close(stream)
        raise


def _wanted(request: dict[str, Any]) -> bool:
    """Return whether a request is for this code and for a small slide whose files are there."""
    argv, verb, folder = request["argv"], request["verb"], Path(request["folder"])
    if request["package"] != PACKAGE or verb not in VERBS:
        return False
    if verb == "check":
        image = folder / argv[argv.index(verb) + 1]
        return image.is_file() and image.stat().st_size <= SMALL_BYTES
    path = folder / argv[argv.index("--record") + 1]
    if not path.is_file():  # reading a pipe would wait, and all other jobs with it
        return False
    try:
        record = SlideRecord.read(path)
    except HolohistoError:
        return False
    return math.prod(record.size) <= SMALL_PIXELS


def _run(request: dict[str, Any]) -> NoReturn:
    """Run a verb as the job would have done, and end this process."""
    code = 1
    try:
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        del os.environ[VARIABLE]
        tempfile.tempdir = None  # depends on the environment
        threads = os.environ.get("OMP_NUM_THREADS") or len(os.sched_getaffinity(0))
        import_module("torch").set_num_threads(int(threads))
        code = cli.main(request["argv"])
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
