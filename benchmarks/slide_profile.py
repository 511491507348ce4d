"""CPU seconds of the parts of infer on a whole slide, size T: the network's share of the process.

    python benchmarks/slide_profile.py --size 6003 5017

The slide is that of whole_slide.py. Seconds are CPU time of the threads, so that other work on the
machine does not count. Exits with 1 if the network takes less than 80 % of the process.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

LEAST_SHARE = 0.8
WATCHED = {
    "network": ("holohisto.runtime.processor", "CompiledNetwork", "__call__"),
    "compiling": ("holohisto.runtime.processor", "CompiledNetwork", "__init__"),
    "reading the network": ("holohisto.commands.infer", "open_predictor"),
    "reading tiles": ("holohisto.slide.slide", "Slide", "resampled"),
    "reading and common stain": ("holohisto.foreground.tissue", "Tissue", "read"),
    "blending": ("holohisto.infer.open_rows", "OpenRows", "add"),
    "dividing": ("holohisto.infer.open_rows", "OpenRows", "upper"),
    "probability map": ("holohisto.infer.pipeline", "quarter"),
    "labels": ("holohisto.infer.pipeline", "_label_bits"),
    "compressing": ("holohisto.pyramid.levels", "_lzw"),
    "all of the main thread": ("holohisto.cli", "main"),
    "seams": ("holohisto.infer.seams", "Seams", "compare"),
}
"""What is measured, as module and name."""


def watched(function: Callable[..., Any], seconds: Counter[str], name: str) -> Callable[..., Any]:
    """Return the function, which adds its CPU time to `seconds`."""
    lock = threading.Lock()

    def measured(*words: Any, **facts: Any) -> Any:
        start = time.thread_time()
        try:
            return function(*words, **facts)
        finally:
            with lock:
                seconds[name] += time.thread_time() - start

    return measured


def profile(words: list[str]) -> float:
    """Run infer in this process, print what it takes and return the network's share."""
    from importlib import import_module

    seconds: Counter[str] = Counter()
    for name, (module, *owner, function) in WATCHED.items():
        place = import_module(module)
        place = getattr(place, owner[0]) if owner else place
        setattr(place, function, watched(getattr(place, function), seconds, name))
    assert import_module("holohisto.cli").main(words) == 0
    total = time.process_time()
    print(f"process, with imports: {total:.2f} s of CPU")
    for name, spent in seconds.most_common():
        print(f"  {name:<26}{spent:8.3f} s {100 * spent / total:5.1f} %")
    return seconds["network"] / total


def main() -> None:
    """Prepare, convert, profile in a process of its own; exit 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(9_003, 8_017))
    parser.add_argument("--run", nargs=argparse.REMAINDER, help="command line of infer, internal")
    arguments = parser.parse_args()
    if arguments.run:
        sys.exit(profile(arguments.run) < LEAST_SHARE)
    import whole_slide  # with torch, which the measured process is to be without

    with tempfile.TemporaryDirectory() as folder:
        words = [*whole_slide.prepare(Path(folder), *arguments.size), "--threads", "1"]
        subprocess.run([sys.executable, "-m", "holohisto.cli", *words], check=True)
        sys.exit(subprocess.run([sys.executable, __file__, "--run", *words]).returncode)


if __name__ == "__main__":
    main()
