"""What a folder was found to hold, as rows of a sample sheet."""

import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from holohisto.errors import HolohistoError
from holohisto.sheet.cells import UNFIT

logger = logging.getLogger(__name__)

TEST_SHARE = VAL_SHARE = 0.2
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
ALWAYS = ("slide", "image", "annotation", "group", "subject", "split")
"""Columns that are in every sheet, to be filled in where empty."""


@dataclass(frozen=True)
class FoundSlide:
    """A slide found in a folder."""

    slide: str
    image: Path
    annotation: Path | None = None
    group: str = ""
    subject: str = ""
    split: str = ""
    mpp: float | None = None
    annotated: str = ""
    note: str = ""


def require(folder: Path) -> None:
    """Raise if there is no such folder."""
    if not folder.is_dir():
        raise HolohistoError(folder, "is no folder", advice="give the folder that holds the slides")


def table(slides: list[FoundSlide]) -> str:
    """Return the sheet's text; columns beyond the usual ones only where any slide needs them."""
    rows = [
        {column: "" if value is None else str(value) for column, value in vars(found).items()}
        for found in slides
    ]
    frame = pd.DataFrame(rows)
    some = [name for name in frame.columns if name in ALWAYS or (frame[name] != "").any()]
    return frame[some].to_csv(sep="\t", index=False, lineterminator="\n")


def files(folder: Path, suffixes: Iterable[str]) -> Iterator[Path]:
    """Yield all files with one of the suffixes, sorted by folder; what starts with . is left out.

    Raises:
        HolohistoError: a folder cannot be read, or a name fits no sheet.
    """
    wanted = tuple(suffixes)

    def refuse(error: OSError) -> None:
        raise HolohistoError(error.filename, f"cannot be read: {error.strerror}") from error

    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.lower().endswith(wanted) and not name.startswith("."):
                yield _plain(Path(place) / name)


def by_stem(paths: Iterable[Path]) -> dict[tuple[str, str], Path]:
    """Files by folder and stem, to be asked for with `at`."""
    return {at(path.parent, path.stem): path for path in paths}


def at(folder: Path, stem: str) -> tuple[str, str]:
    """Where a file stands; case makes no difference."""
    return str(folder).lower(), stem.lower()


def _plain(path: Path) -> Path:
    if unfit := UNFIT.search(str(path)):
        raise HolohistoError(
            repr(str(path)), f"has {unfit[0]!r} in its name", advice="rename the file or folder"
        )
    return path


def valid(name: str) -> str:
    """Turn any name into an id that can be part of a file name."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    return re.sub(r"^[^A-Za-z0-9]+", "", name).rstrip("-.") or "slide"


def unique(names: list[str], folders: list[str]) -> list[str]:
    """Make ids of names; equal names get their folder's name, unless empty, in front."""
    plain = [valid(name) for name in names]
    ids: list[str] = []
    taken = {"cohort"}
    for name, folder in zip(plain, folders, strict=True):
        shared = sum(other.lower() == name.lower() for other in plain) > 1
        if shared and folder:
            name = valid(f"{folder}-{name}")
        result, number = name, 1
        while result.lower() in taken:
            number += 1
            result = f"{name}-{number}"
        taken.add(result.lower())
        ids.append(result)
    return ids


def renamed(slides: list[FoundSlide], ids: list[str]) -> list[FoundSlide]:
    """The same slides under other ids."""
    return [replace(found, slide=slide) for found, slide in zip(slides, ids, strict=True)]


def split_of(folders: Sequence[str]) -> str:
    """The split that the innermost of nested folders is named after; "" if none is."""
    for name in reversed(folders):
        for word in re.split(r"[^a-z]+", name.lower()):
            if word in SPLIT_WORDS:
                return SPLIT_WORDS[word]
    return ""


def with_splits(slides: list[FoundSlide]) -> list[FoundSlide]:
    """Give a split to slides without: predict without annotation, else dealt by subject.

    Subjects are dealt group by group, so that every split has slides of every group that has
    three subjects.
    """
    subjects: dict[str, dict[str, None]] = {}
    for found in slides:
        if not found.split and found.annotation:
            subjects.setdefault(found.group, {})[found.subject or found.slide] = None
    dealt = {group: assign_splits(list(names)) for group, names in subjects.items()}
    return [
        found if found.split else replace(found, split=_dealt(found, dealt)) for found in slides
    ]


def _dealt(found: FoundSlide, dealt: dict[str, dict[str, str]]) -> str:
    if found.annotation is None:
        return "predict"
    return dealt[found.group][found.subject or found.slide]


def assign_splits(names: list[str]) -> dict[str, str]:
    """Deal ids to train, val and test, about 60/20/20, in the order of their hashes.

    One is for training, a second for validation, a third for the test.
    """
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    count = len(order)
    val = max(round(VAL_SHARE * count), 1 if count > 1 else 0)
    test = max(round(TEST_SHARE * count), 1 if count > 2 else 0)
    train = count - val - test
    splits = ["train"] * train + ["val"] * val + ["test"] * test
    return dict(zip(order, splits, strict=True))
