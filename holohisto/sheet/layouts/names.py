"""What a file in a folder of slides is, by its name: a slide, an annotation, a preview."""

import re
from pathlib import Path

from holohisto.sheet.annotations import OUTLINES, is_drawn
from holohisto.sheet.layouts.found import SPLIT_WORDS

SLIDES = (".svs", ".svslide", ".ndpi", ".mrxs", ".scn", ".dcm", ".qptiff", ".bif", ".vms", ".vmu")
"""Endings that only slides have."""
TIFF = (".tif", ".tiff", ".btf", ".tf2", ".tf8")
PICTURES = (*TIFF, ".png", ".jpg", ".jpeg")
"""Endings that slides, annotations and previews may have."""
SLIDE_SUFFIXES = (*SLIDES, *PICTURES)
FLAT = (".png", ".jpg", ".jpeg")
"""Endings of pictures that are previews where a slide beside them has the same stem."""
MASKS = (".tif", ".tiff", ".png")
"""Endings of annotations that are pictures."""
OTHER_SLIDES = (
    ".czi",
    ".vsi",
    ".isyntax",
    ".ndpis",
    ".lif",
    ".nd2",
    ".sys",
    ".tmap",
    ".kfb",
    ".sdpc",
)
"""Endings of slides that are not read."""
OTHER_DRAWINGS = (".zip", ".roi", ".ndpa", ".qpdata")
"""Endings of annotations that are not read."""
ALL_SUFFIXES = (
    *SLIDE_SUFFIXES,
    *OUTLINES,
    *(f"{ending}.gz" for ending in OUTLINES),
    *OTHER_SLIDES,
    *OTHER_DRAWINGS,
)
ANNOTATION_FOLDERS = (
    "annotation",
    "annotations",
    "gt",
    "ground_truth",
    "groundtruth",
    "label",
    "labels",
    "mask",
    "masks",
    "seg",
    "segmentation",
    "segmentations",
)
IMAGE_FOLDERS = ("image", "images", "img", "imgs", "slide", "slides", "wsi", "wsis")
PREVIEW_FOLDERS = (
    "heatmap",
    "heatmaps",
    "macro",
    "macros",
    "overlay",
    "overlays",
    "prediction",
    "predictions",
    "preview",
    "previews",
    "thumbnail",
    "thumbnails",
    "thumbs",
)
ANNOTATION = re.compile(
    r"^(.+)[-_ ](masks?|labels?|labelled|annotations?|segs?|segmentations?|gt|ground[-_ ]?truth)$",
    re.IGNORECASE,
)
PREVIEW = re.compile(
    r"^(.+)[-_ ](macro|thumb|thumbnail|preview|overview|overlay|heatmap|snapshot|pred|prediction"
    r"|probability|low[-_ ]?res)s?$",
    re.IGNORECASE,
)
SUFFIX = re.compile(r"\.(ome\.\w+|\w+\.gz|\w+)$", re.IGNORECASE)
OF_SLIDE = re.compile(
    rf"({'|'.join(map(re.escape, (*SLIDES, *PICTURES)))})( - .+)?$", re.IGNORECASE
)
"""The slide's own ending within an annotation's name, as QuPath writes: `a.svs - a.geojson`."""


def stem(path: Path) -> str:
    """Return a file's name without its ending; `.ome.tif` and `.geojson.gz` are one ending."""
    return SUFFIX.sub("", path.name)


def pictured_stem(path: Path) -> str:
    """Return the stem, in lower case, of the slide that a picture such as `a.svs.png` shows."""
    return OF_SLIDE.sub("", stem(path)).lower()


def annotated_stem(path: Path) -> str:
    """Return the stem of the slide that an annotation is of, in lower case."""
    name = stem(path)
    if is_drawn(path) or path.suffix.lower() in OTHER_DRAWINGS:
        ending = OF_SLIDE.search(name)
        name = name[: ending.start()] if ending else name
        name = re.sub(r"\.ome$", "", name, flags=re.IGNORECASE)
    match = ANNOTATION.match(name)
    return (match[1] if match else name).lower()


def is_mask(path: Path, folders: tuple[str, ...]) -> bool:
    """Whether a picture is an annotation, by its name or by one of the folders that hold it."""
    named = ANNOTATION.match(stem(path)) or any(f.lower() in ANNOTATION_FOLDERS for f in folders)
    return path.suffix.lower() in PICTURES and bool(named)


def is_preview(path: Path, folders: tuple[str, ...]) -> bool:
    """Whether a picture is a thumbnail, an overlay or the like, by its name or its folders."""
    named = PREVIEW.match(stem(path)) or any(f.lower() in PREVIEW_FOLDERS for f in folders)
    return path.suffix.lower() in PICTURES and bool(named)


def separated(folders: tuple[str, ...]) -> tuple[str, ...]:
    """Return folders in which one such as `train_masks` or `masks-train` is two: train, masks."""
    result: list[str] = []
    for name in folders:
        first, *others = re.split(r"[-_ ]", name.lower())
        *before, last = (first, *others)
        kinds = (*ANNOTATION_FOLDERS, *IMAGE_FOLDERS)
        if "_".join(before) in SPLIT_WORDS and last in kinds:
            result += ["_".join(before), last]
        elif first in kinds and "_".join(others) in SPLIT_WORDS:
            result += ["_".join(others), first]
        else:
            result.append(name)
    return tuple(result)


def place(folders: tuple[str, ...]) -> tuple[str, ...]:
    """Return the folders of a file without those that only separate images and annotations."""
    separating = (*ANNOTATION_FOLDERS, *IMAGE_FOLDERS)
    return tuple(name.lower() for name in folders if name.lower() not in separating)
