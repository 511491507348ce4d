"""Slides found in a folder, and the sample sheet made from them."""

import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from holohisto.errors import HolohistoError
from holohisto.runtime.paths import unfit
from holohisto.runtime.tsv import guarded

logger = logging.getLogger(__name__)

LONGEST_VALID = 80
"""Characters of a name in an id; a folder and a number may be added."""
TEST_SHARE = VAL_SHARE = 0.2
"""Shares of the subjects that are assigned to test and val."""
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
    """A slide found in a folder; its fields are the columns of the sheet."""

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
    """Require that a folder exists.

    Raises:
        HolohistoError: there is no such folder.
    """
    if not folder.is_dir():
        raise HolohistoError(folder, "is no folder", advice="give the folder that holds the slides")


def table(slides: list[FoundSlide]) -> str:
    """Return the text of the sheet; optional columns are omitted where no slide has a value."""
    rows = [
        {
            column: "" if value is None else guarded(str(value))
            for column, value in vars(slide).items()
        }
        for slide in slides
    ]
    frame = pd.DataFrame(rows)
    used = [name for name in frame.columns if name in ALWAYS or (frame[name] != "").any()]
    return frame[used].to_csv(sep="\t", index=False, lineterminator="\n")


def files(folder: Path, suffixes: Iterable[str]) -> Iterator[Path]:
    """Yield all files with one of the suffixes, sorted by folder, hidden ones omitted.

    Args:
        folder: Searched with its sub-folders, through links too; each folder once.
        suffixes: Endings in lower case; the case of the file names makes no difference.

    Raises:
        HolohistoError: a folder cannot be read, or a name has characters that no sheet may have.
    """
    wanted = tuple(suffixes)

    def refuse(error: OSError) -> None:
        raise HolohistoError(error.filename, f"cannot be read: {error.strerror}") from error

    seen = {os.path.realpath(folder)}
    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = [name for name in sorted(folders) if _is_new(parent, name, seen)]
        for name in sorted(names):
            if name.lower().endswith(wanted) and not name.startswith("."):
                yield _plain(Path(parent) / name)


def _is_new(parent: str, name: str, seen: set[str]) -> bool:
    """Whether a folder is not hidden, and not seen before under another name."""
    place = os.path.realpath(os.path.join(parent, name))
    new = not name.startswith(".") and place not in seen
    if new:
        seen.add(place)
    return new


def by_stem(paths: Iterable[Path]) -> dict[tuple[str, str], Path]:
    """Index files by the key that `at` returns for their folder and stem."""
    return {at(path.parent, path.stem): path for path in paths}


def at(folder: Path, stem: str) -> tuple[str, str]:
    """Return the key of a file in an index, in which case makes no difference."""
    return str(folder).lower(), stem.lower()


def _plain(path: Path) -> Path:
    if problem := unfit(str(path)):
        raise HolohistoError(repr(str(path)), f"has {problem}", advice="rename the file or folder")
    return path


def valid(name: str) -> str:
    """Turn a name into an id that can be part of a file name."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
    return re.sub(r"^[^A-Za-z0-9]+", "", name)[:LONGEST_VALID].rstrip("-.") or "slide"


def unique(names: list[str], folders: list[str]) -> list[str]:
    """Turn names into unique ids.

    Args:
        names: A name per slide.
        folders: A folder's name per slide, prefixed to a name that occurs more than once. Where it
            is empty, or the result is not unique either, a number is appended.
    """
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
    """Return the slides with other ids."""
    return [replace(slide, slide=name) for slide, name in zip(slides, ids, strict=True)]


def split_of(folders: Sequence[str]) -> str:
    """Return the split named by the innermost of nested folders; "" where none names a split."""
    for name in reversed(folders):
        for word in re.split(r"[^a-z]+", name.lower()):
            if word in SPLIT_WORDS:
                return SPLIT_WORDS[word]
    return ""


def with_splits(slides: list[FoundSlide]) -> list[FoundSlide]:
    """Assign a split to slides without one: predict without annotation, others by subject.

    Subjects are assigned group by group, so that every split has slides of every group with at
    least three subjects.
    """
    subjects: dict[str, dict[str, None]] = {}
    for slide in slides:
        if not slide.split and slide.annotation:
            subjects.setdefault(slide.group, {})[slide.subject or slide.slide] = None
    splits = {group: assign_splits(list(names)) for group, names in subjects.items()}
    if splits and not any(slide.subject for slide in slides):
        logger.info(
            "splits that no folder names are a proposal: fill in column `subject`, so that no"
            " subject is in two"
        )
    return [
        slide if slide.split else replace(slide, split=_assigned(slide, splits)) for slide in slides
    ]


def _assigned(slide: FoundSlide, splits: dict[str, dict[str, str]]) -> str:
    if slide.annotation is None:
        return "predict"
    return splits[slide.group][slide.subject or slide.slide]


def assign_splits(names: list[str]) -> dict[str, str]:
    """Assign names to train, val and test, about 60/20/20, in the order of their hashes.

    A single name is for training, a second one for validation and a third one for testing.
    """
    order = sorted(names, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    count = len(order)
    val = max(round(VAL_SHARE * count), 1 if count > 1 else 0)
    test = max(round(TEST_SHARE * count), 1 if count > 2 else 0)
    train = count - val - test
    splits = ["train"] * train + ["val"] * val + ["test"] * test
    return dict(zip(order, splits, strict=True))
