"""Running a verb in a process of its own that must not import torch."""

import subprocess
import sys

PROGRAM = """
import sys
from holohisto import cli
code = cli.main(sys.argv[1:])
heavy = {"torch", "monai", "transformers", "taming", "lightning_fabric"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else code)
"""


def run_without_torch(words: list[str]) -> None:
    """Run a verb; fails if it does, or if torch or a library over it has been imported."""
    command = [sys.executable, "-c", PROGRAM, *words]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
