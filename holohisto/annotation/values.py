"""What the values and colours of a mask mean: the rule of its classes."""

from pathlib import Path
from typing import Protocol

import numpy as np

from holohisto.annotation.drawn import shown_all
from holohisto.annotation.rules import (
    UNKNOWN,
    NearerRule,
    OpaqueRule,
    Rule,
    ValueRule,
    unknown_values,
)
from holohisto.annotation.survey import LARGEST, Survey, alpha_cut_of, survey
from holohisto.config.sections import Classes
from holohisto.errors import HolohistoError

BRIGHT = (127, 128, 254, 255, 256, 32767, 32768, 65280, 65535)
"""Values above 100 with which masks are painted in 8 and 16 bits."""
LOSSY_NOISE, LOSSY_CUT = 16, 128
"""Largest value of noise in a mask that is compressed with loss, and the value from which such a
mask shows its only class."""
FEW = 4
"""Largest number of values that may be grey levels of classes rather than numbers of objects."""
LARGEST_NUMBER = 32
"""Largest number of an object in a mask with only a few of them."""
MOST_NOISE = 20
"""Number of grey values that fill no region from which a picture without regions is no mask."""
BLACK, WHITE = 0x000000, 0xFFFFFF
MOST_COVERED, MOST_BORDER = 0.5, 0.75
"""A mask that covers more than these shares of the picture and of its border may be inverted."""


class Picture(Protocol):
    """A mask, read by rectangles of (height, width, samples) integers from 0 to 65536."""

    size: tuple[int, int]
    lossy: bool
    channels: int
    """Samples of a pixel; 2 and 4 include alpha."""

    @property
    def palette(self) -> np.ndarray | None:
        """Colours (256, 3) uint8 of the values, or None."""
        ...

    def read(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Return the pixels of a rectangle."""
        ...

    def samples(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return evenly spread parts of the picture, and those with the most in them."""
        ...


def rule_of(path: Path, classes: Classes, annotated: tuple[str, ...], picture: Picture) -> Rule:
    """Return the rule of a mask: the values of its classes, or what is drawn in it.

    Without `values`, several classes have the values 1, 2, ... in their order, and the only
    annotated class is whatever is drawn: one bright value, or objects with a number each.

    Args:
        path: The file, for messages.
        classes: The classes in the order of their bits, with their values or colours.
        annotated: Names of the classes to read.
        picture: The mask.

    Raises:
        HolohistoError: without `values`, the mask cannot be understood.
    """
    declared = any(classes[name].values for name in annotated)
    if declared:
        return _declared(path, classes, annotated, picture, None)
    spread, most = picture.samples()
    seen = survey(spread + most, alpha_cut_of(spread + most))
    if len(annotated) != 1:
        return _declared(path, classes, annotated, picture, seen)
    bit = list(classes).index(annotated[0])
    rule = _only_class(path, annotated[0], bit, picture, seen, alpha_cut_of(spread + most))
    _require_background(path, annotated[0], rule, picture, spread)
    return rule


def _declared(
    path: Path,
    classes: Classes,
    annotated: tuple[str, ...],
    picture: Picture,
    seen: Survey | None,
) -> Rule:
    """The rule of listed values; strict about others where none is listed, and `seen` is given."""
    table = np.full(LARGEST + 1, 0 if seen is None else UNKNOWN, np.uint16)
    table[0] = 0
    colours: list[tuple[int, int]] = []
    for bit, (name, options) in enumerate(classes.items()):
        if seen is not None:
            table[bit + 1] = 0  # a class that is not annotated here
        for value in options.values or (bit + 1,) if name in annotated else ():
            if isinstance(value, int):
                table[value] |= 1 << bit
            else:
                colours.append((int(value[1:], 16), 1 << bit))
    if seen is None:
        return ValueRule(path, table, colours, picture.palette, _alpha_cut(picture))
    if seen.coloured:
        raise _not_understood(path, "<name>", seen, "has colours")
    unknown = [code for code in seen.codes.tolist() if table[code] >= UNKNOWN]
    if unknown:
        raise unknown_values(path, unknown)
    return ValueRule(path, table, [], None, None)


def _alpha_cut(picture: Picture) -> int | None:
    if picture.channels not in (2, 4):
        return None
    spread, most = picture.samples()
    return alpha_cut_of(spread + most)


def _only_class(
    path: Path, name: str, bit: int, picture: Picture, seen: Survey, alpha_cut: int | None
) -> Rule:
    """The rule of a mask of one class without `values`."""
    if alpha_cut is not None and len(seen.codes) <= 1:
        return OpaqueRule(bit, alpha_cut)
    if seen.coloured:
        return _coloured_class(path, name, bit, seen, alpha_cut)
    if picture.lossy and LOSSY_NOISE < seen.codes.max(initial=0) < LOSSY_CUT:
        raise _not_understood(path, name, seen, "is compressed with loss and nowhere bright")
    cut = LOSSY_CUT if picture.lossy else _cut(path, name, seen)
    table = np.zeros(LARGEST + 1, np.uint16)
    table[cut:] = 1 << bit
    return ValueRule(path, table, [], None, alpha_cut)


def _cut(path: Path, name: str, seen: Survey) -> int:
    """The value from which a grey mask shows its only class."""
    regions = seen.regions()
    _require_regions(path, name, seen, 0)
    drawn = seen.codes[seen.codes > 0]
    if not len(regions):
        regions = drawn[-1:]
    top = int(regions[-1]) if len(regions) else 1
    painted = top in BRIGHT or 64 <= top <= 255
    mostly = 2 * seen.count(regions[-1:]) > seen.count(drawn)
    if len(regions) <= 1 or (painted and mostly and len(regions) > FEW):
        return (top + 1) // 2 if painted else 1
    if len(regions) <= FEW and top > LARGEST_NUMBER:
        raise _not_understood(path, name, seen, "has several grey values")
    return 1  # numbers of objects


def _coloured_class(path: Path, name: str, bit: int, seen: Survey, alpha_cut: int | None) -> Rule:
    """The rule of a coloured mask of one class: one colour on black or white, or many on black."""
    black, white = seen.count(np.array([BLACK])), seen.count(np.array([WHITE]))
    background = BLACK if black >= white else WHITE
    if 2 * max(black, white) + 2 * seen.transparent < seen.counts.sum() + seen.transparent:
        raise _not_understood(path, name, seen, "is coloured, and mostly neither black nor white")
    _require_regions(path, name, seen, background)
    colours = seen.regions(background)
    if len(colours) == 1:
        return NearerRule(bit, int(colours[0]), background, alpha_cut)
    if background == WHITE or 1 < len(colours) <= FEW:
        raise _not_understood(path, name, seen, "has several colours")
    table = np.zeros(LARGEST + 1, np.uint16)
    table[128:] = 1 << bit
    return ValueRule(path, table, [], None, alpha_cut)


def _require_regions(path: Path, name: str, seen: Survey, background: int) -> None:
    """Raise if most of what is not background has shades, as in a photograph."""
    noise = seen.noise(background)
    if len(noise) > MOST_NOISE and seen.count(noise) > seen.count(seen.regions(background)):
        raise _not_understood(path, name, seen, "is a picture with shades rather than a mask")


def _require_background(
    path: Path, name: str, rule: Rule, picture: Picture, spread: list[np.ndarray]
) -> None:
    """Raise if a mask seems to be inverted: most of it, and of its border, is the class."""
    covered = _share(rule, spread)
    if covered > MOST_COVERED and _share(rule, _border(picture)) > MOST_BORDER:
        raise HolohistoError(
            path,
            f"the annotation shows {name} on {covered:.0%} of the picture and along its border: it"
            " may be inverted, or show something else",
            advice=f"set `classes.{name}.values` to the value of {name}, 0 if it is inverted",
        )


def _share(rule: Rule, parts: list[np.ndarray]) -> float:
    """Share of pixels with any class."""
    pixels = sum(part.shape[0] * part.shape[1] for part in parts)
    return sum(int((rule.bits(part) > 0).sum()) for part in parts) / max(1, pixels)


def _border(picture: Picture) -> list[np.ndarray]:
    """Parts along the border of a picture, 16 a side."""
    width, height = picture.size
    side = min(8, width, height)
    xs = np.linspace(0, width - side, 16).astype(int).tolist()
    ys = np.linspace(0, height - side, 16).astype(int).tolist()
    places = {(x, y) for x in xs for y in (0, height - side)}
    places |= {(x, y) for y in ys for x in (0, width - side)}
    return [picture.read(x, y, side, side) for x, y in sorted(places)]


def _not_understood(path: Path, name: str, seen: Survey, problem: str) -> HolohistoError:
    largest = seen.codes[np.argsort(-seen.counts, kind="stable")[: FEW + 1]]
    found = [f"#{code:06x}" if seen.coloured else code for code in sorted(largest.tolist())]
    more = ", ..." if len(seen.codes) > len(found) else ""
    return HolohistoError(
        path,
        f"the annotation {problem}, and which is {name} is not declared",
        found=shown_all(found) + more,
        advice=f"set `classes.{name}.values`",
    )
