"""Running a verb in a fork of a process that has imported everything: `holohisto.fork_server`.

Imports take longer than the work on a small slide. The workflow starts one server for its jobs on
this machine; each job connects to it, hands over its command line, environment, folder and
standard streams, and waits for the exit code. Signals are passed on, and a job that is killed takes
its fork with it. Where anything is amiss, the job does its work itself, as without a server.
"""

import json
import os
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

VARIABLE = "HOLOHISTO_FORK_SERVER"
"""Environment variable with the path of the server's socket; empty: no server is used."""
VERBS = frozenset({"check", "foreground", "tokens", "infer", "adopt", "mask", "metrics"})
"""Verbs of one slide, which the server runs if the slide is small."""
SMALL_BYTES = 32_000_000
"""Bytes of an image file whose slide may be small."""
STREAMS = (0, 1, 2)
"""Input, output and errors of the job, which become those of the fork."""
PACKAGE = str(Path(__file__).parents[1])
"""Folder of this package; a server that runs other code is not used."""
NUMBER = struct.Struct("q")
"""What the server answers: the process of the fork, or 0, and the status with which it ended."""
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def run(argv: list[str], verb: str | None) -> int | None:
    """Run a verb in a fork of the server.

    Args:
        argv: The words of the command line.
        verb: The verb among them.

    Returns:
        Its exit code, 128 and more for a signal; None where no server has run it.
    """
    path = os.environ.get(VARIABLE)
    if not path or verb not in VERBS:
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(path)
            _send(connection, argv, verb)
            fork = _number(connection)
            if not fork:  # the server has ended, or does not want this job
                return None
            status = _ended(connection, fork)
        except OSError:
            return None
    if status is None:  # the server has ended, and with it the fork
        return None
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _send(connection: socket.socket, argv: list[str], verb: str) -> None:
    request = {
        "argv": argv,
        "verb": verb,
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "package": PACKAGE,
    }
    text = json.dumps(request).encode()
    socket.send_fds(connection, [NUMBER.pack(len(text))], STREAMS)
    connection.sendall(text)


def _ended(connection: socket.socket, fork: int) -> int | None:
    """Wait for the end of a fork, to which signals are passed on, and return its status."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        os.kill(fork, number)

    before: dict[int, Callable[..., Any] | int | None]
    before = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    try:
        return _number(connection)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _number(connection: socket.socket) -> int | None:
    """Receive a number; None at the end of the connection."""
    data = connection.recv(NUMBER.size, socket.MSG_WAITALL)
    return NUMBER.unpack(data)[0] if len(data) == NUMBER.size else None
