"""Run one part: `python -m benchmarks.gpu.parts NAME --work FOLDER --result FILE`."""

import argparse
import sys
import traceback
from importlib import import_module
from pathlib import Path

from benchmarks.gpu.sizes import sizes
from benchmarks.gpu.task import Task

MODULES = {
    "tests": "marked_tests",
    "encoder": "encoder_speed",
    "training": "training_speed",
    "slide": "whole_slide",
    "attention": "attention_race",
}


def main() -> int:
    """Measure; an exception becomes the reason of the failure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("part", choices=MODULES)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--result", type=Path, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--dry", action="store_true")
    arguments = parser.parse_args()
    chosen = sizes(arguments.dry)
    task = Task(arguments.work, arguments.result, chosen, arguments.dry, arguments.seconds)
    try:
        import_module(f"benchmarks.gpu.parts.{MODULES[arguments.part]}").measure(task)
    except Exception as error:
        traceback.print_exc()
        line = (str(error).strip().splitlines() or [""])[-1]
        task.put(error=f"{type(error).__name__}: {line}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
