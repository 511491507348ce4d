"""The starter: a trained tokenizer and segmenter that come with this package."""

import contextlib
import os
from pathlib import Path
from typing import Any, Literal, NamedTuple

from holohisto.errors import HolohistoError
from holohisto.runtime.paths import require_fit

STARTER = Path("starter")
"""Stands for the starter's file in `tokenizer.checkpoint`, `weights` and `pretrained`."""
VARIABLE = "HOLOHISTO_STARTER"
"""Environment variable that names another folder, as for weights of a site's own."""
PACKAGE = Path(__file__).resolve().parents[1]
FOLDERS = (PACKAGE / "starter", PACKAGE.parent / "resources" / "starter")
"""Of an installed package, and of a checkout."""

PURPOSE = (
    "the starter finds glomeruli in brightfield scans of PAS-stained kidney sections, as a first"
    " draft to look at and correct; it is not for diagnosis, other organs or structures, nor for"
    " counts that nobody has checked"
)
"""One line that goes with every result of the starter."""
SETTINGS: dict[str, Any] = {
    "infer": {"tile": [1024, 768]},
    "mask": {"min_object_um2": 2000.0},
}
"""What it was tested with, where it differs from the defaults; config/starter.yaml has it, too."""


class Starter(NamedTuple):
    """The files of the starter."""

    tokenizer: Path
    segmenter: Path


def starter() -> Starter:
    """Return the files of the starter.

    Raises:
        HolohistoError: a file is missing, or the folder cannot be a path of a run.
    """
    named = os.environ.get(VARIABLE)
    folders = [Path(named)] if named else FOLDERS
    for folder in folders:
        found = Starter(folder / "tokenizer.safetensors", folder / "segmenter.safetensors")
        if all(file.is_file() for file in found):
            require_fit(folder, "folder of the starter weights")
            return found
    raise HolohistoError(
        "starter",
        "the starter weights are not installed",
        found=f"no tokenizer.safetensors and segmenter.safetensors in {folders[-1]}",
        advice=f"install HoloHisto again, name their folder in {VARIABLE}, or give files of yours",
    )


def is_starter(file: Path) -> bool:
    """Return whether a file is the starter's segmenter or tokenizer."""
    with contextlib.suppress(HolohistoError):
        return file == STARTER or file.resolve() in {own.resolve() for own in starter()}
    return False


def located(path: Path, file: Literal["tokenizer", "segmenter"]) -> Path:
    """Return a path of the configuration, with the starter's file in place of the word `starter`.

    Raises:
        HolohistoError: see `starter`.
    """
    return getattr(starter(), file) if path == STARTER else path
