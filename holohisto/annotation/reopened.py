"""An annotation that may be closed between two reads, for more images than memory holds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from holohisto.annotation.reader import Annotation
from holohisto.runtime.open_files import OpenFiles
from holohisto.sheet.annotations import is_outlines


class ReopenedAnnotation:
    """The annotated classes of a slide, from a picture that is opened again when it was closed."""

    def __init__(self, files: OpenFiles, path: Path, opener: Callable[[], Annotation]) -> None:
        """Open the annotation once.

        Args:
            files: The open files that it shares the memory with.
            path: Its file.
            opener: Opens it.

        Raises:
            HolohistoError: as of `opener`.
        """
        self.path = path
        self._files, self._opener = files, opener
        with self._files.use(self, opener):
            pass

    def read(self, xy: tuple[int, int], size: tuple[int, int]) -> np.ndarray:
        """Return the classes of a rectangle; see `Annotation.read`."""
        with self._files.use(self, self._opener) as annotation:
            return annotation.read(xy, size)


def open_annotation(
    files: OpenFiles, path: Path, opener: Callable[[], Annotation]
) -> Annotation | ReopenedAnnotation:
    """Open an annotation, of which a picture is closed when the memory is needed.

    Outlines stay open: they are small, take long to read, and may be warned of each time.

    Args:
        files: The open files that pictures share the memory with.
        path: The annotation's file.
        opener: Opens it.

    Raises:
        HolohistoError: as of `opener`.
    """
    return opener() if is_outlines(path) else ReopenedAnnotation(files, path, opener)
