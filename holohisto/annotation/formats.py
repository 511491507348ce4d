"""Read the drawn objects of an annotation file, whatever tool wrote it."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from holohisto.annotation import coco, geojson, labelme, viewer_xml
from holohisto.annotation.drawn import DrawnObject, shown, shown_all
from holohisto.annotation.json_text import JsonText, open_text
from holohisto.errors import HolohistoError
from holohisto.sheet.annotations import not_read

READ = "TIFF, PNG, JPEG, GeoJSON, COCO, labelme, XML of ASAP, ImageScope or HALO"
ADVICE = "export GeoJSON from QuPath, or paint a mask"
MISTAKES = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError)
"""Errors of data that make no sense."""


class Drawing:
    """The objects of a file, read once, one by one.

    Attributes:
        size: Width and height of the picture on which they were drawn, where the file states
            them; known once the objects are read.
    """

    def __init__(self, path: Path) -> None:
        """Wrap a file, which is not opened yet."""
        self.path = path
        self.size: tuple[int, int] | None = None

    def objects(self) -> Iterator[tuple[int, DrawnObject]]:
        """Yield the number of the file's item, from 1, and an object of it.

        Raises:
            HolohistoError: missing, damaged, or of no format that is read.
        """
        if kind := not_read(self.path):
            raise self._unreadable(f"it is {kind}")
        try:
            with open_text(self.path) as file:
                start = _first_character(file)
            yield from self._of_xml() if start == "<" else self._of_json()
        except OSError as error:  # gzip's errors included
            reason = error.strerror or str(error)
            raise HolohistoError(self.path, f"annotation cannot be read: {reason}") from error
        except (EOFError, zlib.error, UnicodeError) as error:
            raise HolohistoError(self.path, f"annotation is damaged: {error}") from error

    def _of_xml(self) -> Iterator[tuple[int, DrawnObject]]:
        try:
            yield from enumerate(viewer_xml.objects(self.path), start=1)
        except ValueError as error:
            raise self._unreadable(str(error)) from error

    def _of_json(self) -> Iterator[tuple[int, DrawnObject]]:
        with open_text(self.path) as file:
            text = JsonText(file)
            items = _features(text)
            number = 0
            while True:
                try:
                    item = next(items)
                except StopIteration as end:
                    document: dict[str, Any] | None = end.value
                    break
                except (ValueError, RecursionError) as error:
                    raise HolohistoError(
                        self.path, f"annotation is no whole JSON: {error}"
                    ) from error
                number += 1
                yield from ((number, drawn) for drawn in self._of_feature(item, number))
        if document is not None:
            yield from self._of_document(document)

    def _of_feature(self, item: Any, number: int) -> list[DrawnObject]:
        try:
            return list(geojson.objects(item))
        except MISTAKES as error:
            problem = f"object {number} of the GeoJSON makes no sense: {shown(error, 120)}"
            raise HolohistoError(self.path, problem, advice=ADVICE) from error

    def _of_document(self, document: dict[str, Any]) -> Iterator[tuple[int, DrawnObject]]:
        """Yield the objects of a JSON object that is no collection of features."""
        kind = document.get("type")
        try:
            if kind == "Feature":
                found = geojson.objects(document)
            elif isinstance(kind, str) and kind in geojson.GEOMETRIES:
                found = iter([geojson.geometry_object(document)])
            elif kind == "FeatureCollection":
                raise ValueError("the features of its FeatureCollection are no list")
            elif coco.is_coco(document):
                self.size, found = coco.picture_size(document), coco.objects(document)
            elif labelme.is_labelme(document):
                self.size, found = labelme.picture_size(document), labelme.objects(document)
            else:
                keys = shown_all(document, 5) or "nothing"
                raise ValueError(f"it is JSON of another tool, with the keys {keys}")
            yield from enumerate(found, start=1)
        except MISTAKES as error:
            raise self._unreadable(str(error)) from error

    def _unreadable(self, problem: str) -> HolohistoError:
        return HolohistoError(
            self.path,
            f"annotation cannot be read: {shown(problem, 150)}",
            allowed=READ,
            advice=ADVICE,
        )


def _features(text: JsonText) -> Iterator[Any]:
    """Yield the features of a list or a collection; return any other object's members."""
    members: dict[str, Any] = {}
    streamed = text.peek() == "["
    if streamed:
        yield from text.items()
    else:
        for key in text.members():
            if key == "features" and text.peek() == "[":
                streamed = True
                yield from text.items()
            else:
                members[key] = text.value()
    if text.peek():
        raise ValueError("there is more after its end")
    return None if streamed else members


def _first_character(file: Any) -> str:
    """The first character of a text that is not blank; "" where there is none."""
    while chunk := file.read(4096):
        if stripped := chunk.lstrip():
            return stripped[0]
    return ""
