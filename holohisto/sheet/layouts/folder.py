"""Any folder of slides, with annotations beside them or in folders of their own."""

import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from holohisto.errors import HolohistoError
from holohisto.sheet.annotations import holds_drawings, is_drawn
from holohisto.sheet.dicom import one_of_each_series
from holohisto.sheet.layouts import names
from holohisto.sheet.layouts.found import FoundSlide, files, split_of, unique, with_splits

logger = logging.getLogger(__name__)

Place = tuple[str, ...]
"""Names of nested folders."""
CALLED_LIKE_A_SLIDE = "pictures called like a slide beside them; name annotations <stem>_mask"
EXAMPLES = 3
"""Number of files that a message names."""


def find(folder: Path) -> list[FoundSlide]:
    """Find all slides below a folder, sorted by path; groups and subjects are left empty.

    A picture is the annotation of the slide with the same stem when it is called `<stem>_mask`,
    `<stem>-labels`, `<stem>_seg` or the like, or lies in a folder `masks`, `annotations` or the
    like beside the slide or beside the slide's folder. Drawn objects are called like the slide.
    The files of a DICOM series are one slide. Thumbnails, overlays and pictures called like a slide
    beside them are no slides. Folders named train, val or test decide the split.

    Raises:
        HolohistoError: the folder cannot be read, or holds no slide.
    """
    found = _Files(folder)
    found.report()
    if not found.images:
        raise HolohistoError(
            folder,
            "holds no slides",
            found=f"{found.count} other files" if found.count else None,
            allowed=" ".join(suffix[1:] for suffix in names.SLIDE_SUFFIXES),
            advice="check the folder; sub-folders are searched too",
        )
    ids = unique(
        [names.stem(image) for image in found.images],
        ["" if image.parent == folder else image.parent.name for image in found.images],
    )
    slides = [
        FoundSlide(slide, image, annotation, split=found.split(image) if annotation else "")
        for slide, image, annotation in zip(ids, found.images, found.annotations(), strict=True)
    ]
    return with_splits(slides)


@dataclass
class _Files:
    """The files of a folder by their kinds."""

    folder: Path
    images: list[Path] = field(default_factory=list[Path])
    count: int = 0
    """Number of all files that are no slides."""

    def __post_init__(self) -> None:
        self._annotations: dict[str, list[Path]] = defaultdict(list)
        self._left_out: dict[str, list[Path]] = defaultdict(list)
        paths = _without_hamamatsu_jpegs(files(self.folder, names.ALL_SUFFIXES))
        paths = one_of_each_series(paths)
        slides = {
            (path.parent, names.stem(path).lower())
            for path in paths
            if _only_slide(path) or path.suffix.lower() in names.TIFF
        }
        seen: set[str] = set()
        for path in paths:
            kind = self._kind(path, slides)
            if kind == "slide" and (real := os.path.realpath(path)) not in seen:
                seen.add(real)
                self.images.append(path)
            elif kind == "annotation":
                self._annotations[names.annotated_stem(path)].append(path)
            else:
                self._left_out["links to a slide above" if kind == "slide" else kind].append(path)
        self.count = len(paths) - len(self.images)

    def _kind(self, path: Path, slides: set[tuple[Path, str]]) -> str:
        suffix, folders = path.suffix.lower(), self._folders(path)
        if _only_slide(path):
            return "slide"
        if is_drawn(path):
            return "annotation" if holds_drawings(path) else "files without drawn objects"
        if suffix in names.OTHER_SLIDES:
            return "slides of formats that are not read: convert them to pyramidal TIFF"
        if suffix in names.OTHER_DRAWINGS:
            return "annotations of formats that are not read: export GeoJSON from QuPath"
        if names.is_preview(path, folders):
            return "previews and overlays"
        if names.is_mask(path, folders):
            other = "images of other kinds that look like annotations"
            return "annotation" if suffix in names.MASKS else other
        if suffix in names.FLAT and (path.parent, names.pictured_stem(path)) in slides:
            return CALLED_LIKE_A_SLIDE if suffix in names.MASKS else "previews and overlays"
        return "slide"

    def _folders(self, path: Path) -> Place:
        return names.separated(path.relative_to(self.folder).parent.parts)

    def split(self, image: Path) -> str:
        """The split that a folder of the image names; "" where none does."""
        return split_of(self._folders(image))

    def annotations(self) -> list[Path | None]:
        """The annotation of each image, or None; those of no image are reported."""
        chosen: list[Path | None] = []
        used: set[Path] = set()
        several = 0
        for image in self.images:
            fitting = self._fitting(image)
            chosen.append(fitting[0] if fitting else None)
            used.update(fitting)
            several += len(fitting) > 1
        if several:
            logger.warning("%d slides have several annotations: the first one is taken", several)
        for stem, paths in self._annotations.items():
            for path in paths:
                if path not in used:
                    logger.warning("%s: looks like an annotation, but %s", path, self._why(stem))
        return chosen

    def _why(self, stem: str) -> str:
        """Why an annotation is of no slide."""
        for image in self.images:
            if re.match(rf"{re.escape(names.stem(image).lower())}[-_ .]", stem):
                return (
                    f"is not called like a slide; a slide has one annotation: if it is of"
                    f" {image.name}, fill in columns `annotation` and `annotated`"
                )
        return "there is no such slide"

    def _fitting(self, image: Path) -> list[Path]:
        """The annotations of an image: those beside it, else those in folders that fit."""
        paths = self._annotations.get(names.stem(image).lower(), [])
        beside = [path for path in paths if path.parent == image.parent]
        inner = self._folders(image)
        places = {names.place(inner), names.place(inner[:-1])}
        return beside or [path for path in paths if self._places(path) & places]

    def _places(self, path: Path) -> set[Place]:
        """Places of the slides that an annotation in a folder of annotations may be of."""
        folders = self._folders(path)
        cut = [i for i, name in enumerate(folders) if name.lower() in names.ANNOTATION_FOLDERS]
        return {names.place(folders), names.place(folders[: cut[0]])} if cut else set()

    def report(self) -> None:
        """Warn of the files that are left out."""
        for kind, paths in self._left_out.items():
            examples = ", ".join(path.name for path in paths[:EXAMPLES])
            more = ", ..." if len(paths) > EXAMPLES else ""
            logger.warning("left out: %d %s (%s%s)", len(paths), kind, examples, more)


def _only_slide(path: Path) -> bool:
    return path.suffix.lower() in names.SLIDES


def _without_hamamatsu_jpegs(found: Iterable[Path]) -> list[Path]:
    """Files without the JPEGs that VMS slides consist of."""
    paths = list(found)
    hamamatsu = {path.parent for path in paths if path.suffix.lower() in (".vms", ".vmu")}
    return [
        path
        for path in paths
        if path.parent not in hamamatsu or path.suffix.lower() not in (".jpg", ".jpeg")
    ]
