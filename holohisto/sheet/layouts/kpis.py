"""The KPIs 2024 challenge: whole slides of mouse kidneys, and patches cut from them.

Both tasks, in the layout of the release and in that which the challenge's own scripts read:

    .../Task2_WSI_level/<group>/<case>_wsi.tiff, <case>_mask.tiff
    .../<group>/img/<case>_wsi.tiff, <group>/mask/<case>_mask.tiff
    .../Task1_patch_level/<split>/<group>/<case>/img/..._<n>_<x>_<y>_img.jpg, mask/..._mask.jpg

Groups are spelled in several ways (56NX, 56Nx), and so are cases (12_116, 12-116). All
patches and the slides of NEP25 are stored at 20x, other slides at 40x; the files do not state it.
The micrometres per pixel given here are nominal: 0.5 for 20x.
"""

import logging
import re
from pathlib import Path

from holohisto.errors import HolohistoError
from holohisto.sheet.layouts.found import (
    FoundSlide,
    at,
    by_stem,
    files,
    renamed,
    split_of,
    unique,
    with_splits,
)

logger = logging.getLogger(__name__)

GROUPS = {"56nx": "56Nx", "dn": "DN", "nep25": "NEP25", "normal": "normal"}
AT_20X, AT_40X = 0.5, 0.25
STORED_AT_20X = ("NEP25",)
SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
SLIDE = re.compile(r"^(.+)_wsi$", re.IGNORECASE)
PATCH = re.compile(r"^(.+)_(\d+)_(\d+)_(\d+)_img$", re.IGNORECASE)
PATTERNS = {"slides": SLIDE, "patches": PATCH}
LAYOUT = (
    "<group>/<case>_wsi.tiff, <group>/<case>/img/<case>_<n>_<x>_<y>_img.jpg;"
    f" groups {', '.join(GROUPS.values())}"
)
SECTION = re.compile(r"^(\d+-\d+)-\d+$")
"""A case of three numbers is one of several sections of an animal."""
Files = dict[tuple[str, str], Path]


def find(folder: Path, level: str | None = None) -> list[FoundSlide]:
    """Find the challenge's images below a folder, sorted by path.

    Args:
        folder: Searched with its sub-folders.
        level: "slides" (task 2) or "patches" (task 1); None: slides, or patches where there are no
            slides.

    Raises:
        HolohistoError: there are none.
    """
    every = by_stem(files(folder, SUFFIXES))
    for pattern in PATTERNS.values() if level is None else (PATTERNS[level],):
        if found := _search(folder, every, pattern):
            found.sort(key=lambda slide: str(slide.image))
            ids = unique([slide.slide for slide in found], [""] * len(found))
            return with_splits(renamed(found, ids))
    raise HolohistoError(
        folder,
        f"is not in the layout of the KPIs challenge's {level or 'slides or patches'}",
        found=f"{len(every)} images",
        allowed=LAYOUT,
    )


def _search(folder: Path, every: Files, pattern: re.Pattern[str]) -> list[FoundSlide]:
    found: list[FoundSlide] = []
    strange = 0
    for path in every.values():
        match = pattern.match(path.stem)
        if match is None or _is_mask(path):
            continue
        group = _group(folder, path)
        if group:
            found.append(_found(folder, path, match, group, every))
        else:
            strange += 1
    if strange:
        logger.warning("%d images lie in no folder of a group: left out", strange)
    if bare := sum(slide.annotation is None for slide in found):
        logger.warning("%d of %d images have no mask: they are segmented only", bare, len(found))
    return found


def _found(folder: Path, path: Path, match: re.Match[str], group: str, every: Files) -> FoundSlide:
    case = re.sub(f"^{group}[-_]", "", match[1], flags=re.IGNORECASE).replace("_", "-")
    section = SECTION.match(case)
    place = match.groups()[1:]
    annotation = _mask(path, every)
    return FoundSlide(
        slide="-".join([group, case, *place]),
        image=path,
        annotation=annotation,
        group=group,
        subject=f"{group}-{section[1] if section else case}",
        split=split_of(_folders(folder, path)) if annotation else "predict",
        mpp=AT_20X if place or group in STORED_AT_20X else AT_40X,
    )


def _is_mask(path: Path) -> bool:
    return path.parent.name.lower() == "mask" or path.stem.lower().endswith("_mask")


def _group(folder: Path, path: Path) -> str:
    """The group that the innermost folder is named after."""
    for part in reversed(_folders(folder, path)):
        if part.lower() in GROUPS:
            return GROUPS[part.lower()]
    return ""


def _folders(folder: Path, path: Path) -> list[str]:
    """Names of the folders that hold a file, from that of the dataset inwards."""
    return [folder.name, *path.relative_to(folder).parent.parts]


def _mask(path: Path, every: Files) -> Path | None:
    """The mask beside an image, or in the folder `mask` beside the image's folder."""
    name = re.sub(r"_(wsi|img)$", "_mask", path.stem, flags=re.IGNORECASE)
    folder = path.parent.parent / "mask"
    places = (at(path.parent, name), at(folder, name), at(folder, path.stem))
    return next((every[place] for place in places if place in every), None)
