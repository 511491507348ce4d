"""The command line: `holohisto <verb>`, each verb a module of holohisto.commands."""

import argparse
import errno
import logging
import os
import resource
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import cast

from holohisto import __version__
from holohisto.errors import HolohistoError, one_line, printable
from holohisto.runtime import atomic, fork_client, progress
from holohisto.runtime.atomic import DISK_ERRORS
from holohisto.runtime.paths import is_readable_kind
from holohisto.runtime.slurm import is_first

logger = logging.getLogger(__name__)
BUG = "this is a bug in holohisto; please report it with these lines"
PATH_ERRORS = {errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENOENT}
"""Errors of paths that lead to no file."""
LONGEST_MESSAGE = 4000
"""Characters of a line of the log."""

DESCRIPTION = "Segment cohorts of gigapixel kidney slides. Each verb is one step of the workflow."
VERBS = {
    "init": "write a sample sheet for a folder of slides",
    "demo": "write a small synthetic PAS-like cohort",
    "check": "check that a slide, or all slides of a sheet, can be processed; estimate the cost",
    "foreground": "detect the tissue of a slide",
    "tokenizer": "train the VQGAN on the cohort's tissue, or convert a checkpoint",
    "tokens": "compute the token map of a slide",
    "train": "train a segmenter",
    "infer": "segment a whole slide",
    "token_value": "measure what the tokens add: a model's Dice with them left out and shuffled",
    "segment": "segment images with the starter or a trained model, without the workflow",
    "adopt": "import masks made by another tool as the labels of a model",
    "mask": "write pyramidal masks, GeoJSON for QuPath and an overlay",
    "metrics": "score the labels of a slide against its annotation",
    "cohort": "compute group means, tests and object tables of the cohort",
    "gallery": "draw typical fields with every model's result, and the largest errors",
    "report": "write the HTML report",
    "doctor": "show the cores, memory, GPU, scratch and slide readers available to a job",
}


def main(argv: list[str] | None = None) -> int:
    """Run one verb and return the exit code: 0 done, 1 a bug, 2 a mistake in the input."""
    # Threads that spin while waiting slow down other jobs on the same cores.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    argv = sys.argv[1:] if argv is None else argv
    chosen = next((word for word in argv if word in VERBS), None)
    if (code := fork_client.run(argv, chosen)) is not None:
        return code
    parser = argparse.ArgumentParser(prog="holohisto", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"holohisto {__version__}")
    parser.add_argument("--log", type=Path, metavar="FILE", help="also write the log to this file")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    command = None
    for verb, summary in VERBS.items():
        verb_parser = verbs.add_parser(verb, help=summary, description=summary, allow_abbrev=False)
        if verb == chosen:
            command = import_module(f"holohisto.commands.{verb}")
            command.add_arguments(verb_parser)
    _start_log(None)
    signal.signal(signal.SIGTERM, _end)  # temporary files are removed on the way out
    start = time.monotonic()
    try:
        arguments = parser.parse_args(argv)
        _start_log(arguments.log)
        _refuse_pipes(arguments)
        assert command is not None  # argparse has refused every other verb
        command.run(arguments)
    except HolohistoError as error:
        for line in str(error).splitlines():
            logger.error("%s", line)
        return 2
    except BrokenPipeError:  # `holohisto check ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in DISK_ERRORS | PATH_ERRORS:
            logger.exception(BUG)
            return 1
        problem = f"cannot be read or written: {error.strerror}"
        logger.error("%s", HolohistoError(error.filename or "output", problem))
        return 2
    except Exception as error:
        if _is_of_memory(error):
            logger.error(
                "out of memory: lower the step's tile, batch or block (%s)", one_line(str(error))
            )
            return 2
        logger.exception(BUG)
        return 1
    seconds = time.monotonic() - start
    logger.info("%s: done in %.1f s, %d MB", chosen, seconds, _peak_megabytes())
    return 0


def _is_of_memory(error: Exception) -> bool:
    """Whether memory is exhausted: that of Python, of a GPU, or of torch on a CPU."""
    known = type(error).__name__ in ("OutOfMemoryError", "MemoryError")
    return known or "can't allocate memory" in str(error)


def _refuse_pipes(arguments: argparse.Namespace) -> None:
    """Refuse pipes and devices, of which a verb would wait for the end."""
    for name, value in vars(arguments).items():
        for path in cast("list[object]", value if isinstance(value, list) else [value]):
            if isinstance(path, Path) and path.exists() and not is_readable_kind(path):
                raise HolohistoError(
                    f"--{name.replace('_', '-')}", f"{path} is a pipe or device", allowed="a file"
                )


class LogFile(logging.FileHandler):
    """A log that ends, with one line on stderr, when its disk is full."""

    def handleError(self, record: logging.LogRecord) -> None:  # logging's name
        """Go on without this file."""
        logging.getLogger().removeHandler(self)
        error = sys.exc_info()[1]
        logger.warning("%s: the log ends here: %s", self.baseFilename, error)


class PrintableLines(logging.Formatter):
    """Formats a message as one printable line: text from files may hold escapes or line breaks."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # logging's name
        """Return the line; a traceback follows on lines of its own."""
        record.message = printable(record.message[:LONGEST_MESSAGE])
        return super().formatMessage(record)


def _peak_megabytes() -> int:
    """Return the peak memory of this process, megabytes."""
    try:  # ru_maxrss includes the process before exec: under Snakemake, Snakemake itself
        status = Path("/proc/self/status").read_text()
        kilobytes = int(status.partition("VmHWM:")[2].split()[0])
    except (OSError, ValueError, IndexError):
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(kilobytes / 1024)


def _end(number: int, frame: object) -> None:
    sys.exit(128 + number)


def _start_log(path: Path | None) -> None:
    """Log to stderr and, for jobs of the workflow, to a file, in lines and not in bars."""
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if path is not None:
        progress.lines_only()
    if path is not None and is_first():  # only one process writes the file
        try:
            atomic.make_folder_of(path)
            handlers.append(LogFile(path, mode="w", encoding="utf-8", errors="replace"))
        except OSError as error:
            raise HolohistoError(path, f"log cannot be written: {error.strerror}") from error
    for handler in handlers:
        handler.setFormatter(PrintableLines("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(
        level=logging.INFO,
        handlers=handlers,
        force=True,
    )
    logging.captureWarnings(True)
    logging.getLogger("pyvips").setLevel(logging.WARNING)  # it logs the end of every thread


if __name__ == "__main__":
    sys.exit(main())
