"""The command line: `holohisto <verb>`, each verb a module of holohisto.commands."""

import argparse
import logging
import os
import resource
import signal
import sys
import time
from importlib import import_module
from pathlib import Path

from holohisto import __version__
from holohisto.errors import HolohistoError
from holohisto.runtime import atomic, progress
from holohisto.runtime.slurm import is_first

logger = logging.getLogger(__name__)

VERBS = {
    "init": "write a sample sheet from a folder of slides",
    "demo": "write a synthetic PAS-like cohort to try the pipeline on",
    "check": "tell whether a slide, or a whole sheet, can be processed, and what it will cost",
    "foreground": "find the tissue of a slide",
    "tokenizer": "train the VQGAN on the cohort's tissue, or take a checkpoint",
    "tokens": "compute the token map of a slide",
    "train": "train a segmenter",
    "infer": "segment a whole slide",
    "segment": "segment one image of any size with a trained model, without a workflow",
    "adopt": "take masks from elsewhere, such as published results, as a model's labels",
    "mask": "write mask pyramids, outlines for QuPath and an overlay",
    "metrics": "score a slide's labels against its annotation",
    "cohort": "gather all scores into cohort tables and tests",
    "gallery": "picture typical fields by every model, and the largest errors",
    "report": "write the HTML report",
    "doctor": "tell what a job gets here: cores, memory, GPU, scratch, readers that work",
}


def main(argv: list[str] | None = None) -> int:
    """Run one verb; returns the exit code (0 done, 2 a mistake in the input)."""
    # Threads that spin while they wait make two jobs on the same cores crawl.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="holohisto", description=__doc__)
    parser.add_argument("--version", action="version", version=f"holohisto {__version__}")
    parser.add_argument("--log", type=Path, metavar="FILE", help="also write the log to FILE")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    chosen = next((word for word in argv if word in VERBS), None)
    command = None
    for verb, summary in VERBS.items():
        verb_parser = verbs.add_parser(verb, help=summary, description=summary)
        if verb == chosen:
            command = import_module(f"holohisto.commands.{verb}")
            command.add_arguments(verb_parser)
    _start_log(None)
    signal.signal(signal.SIGTERM, _end)  # temporary files are removed on the way out
    start = time.monotonic()
    try:
        arguments = parser.parse_args(argv)
        _start_log(arguments.log)
        assert command is not None  # argparse has refused every other verb
        command.run(arguments)
    except HolohistoError as error:
        for line in str(error).splitlines():
            logger.error("%s", line)
        return 2
    except BrokenPipeError:  # `holohisto check ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if type(error).__name__ in ("OutOfMemoryError", "MemoryError"):
            logger.error("out of memory: lower the step's tile or train.batch (%s)", error)
            return 2
        logger.exception("this is a bug of holohisto; please report it with these lines")
        return 1
    seconds = time.monotonic() - start
    logger.info("%s: done in %.1f s, %d MB", chosen, seconds, _peak_megabytes())
    return 0


def _peak_megabytes() -> int:
    """Largest memory this process has had at once."""
    try:  # ru_maxrss counts what the process was before exec: under Snakemake, Snakemake itself
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
    if path is not None and is_first():  # the file is not for several to write
        try:
            atomic.make_folder_of(path)
            handlers.append(logging.FileHandler(path, mode="w"))
        except OSError as error:
            raise HolohistoError(path, f"log cannot be written: {error.strerror}") from error
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        level=logging.INFO,
        handlers=handlers,
        force=True,
    )
    logging.captureWarnings(True)
    logging.getLogger("pyvips").setLevel(logging.WARNING)  # it tells every thread's end


if __name__ == "__main__":
    sys.exit(main())
