"""The results as one JSON file, whole at any moment."""

import json
import os
from pathlib import Path
from typing import Any

from benchmarks.gpu import table


def write_text(path: Path, text: str) -> None:
    """Replace a file at once, so that a run that is cut off leaves the old or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    os.replace(temporary, path)


def write(path: Path, data: dict[str, Any]) -> None:
    """Replace a JSON file at once."""
    write_text(path, json.dumps(data, indent=2) + "\n")


def read(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds, {} if there is none."""
    return json.loads(path.read_text()) if path.exists() else {}


class Record:
    """Facts of a run and the results of its parts, in `gpu.json`, and as tables in `gpu.md`."""

    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        """Write the first version, without any part.

        Args:
            folder: Of both files; made if missing.
            facts: Of the whole run.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.data = folder, {**facts, "parts": {}}
        self.write()

    def put(self, part: str, outcome: dict[str, Any]) -> None:
        """Set or replace the outcome of a part."""
        self.data["parts"][part] = outcome
        self.write()

    def write(self) -> None:
        """Write both files."""
        write(self.folder / "gpu.json", self.data)
        write_text(self.folder / "gpu.md", table.render(self.data))
