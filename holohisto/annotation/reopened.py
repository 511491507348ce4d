"""An annotation that may be closed between two reads, for more images than memory holds."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from holohisto.annotation.reader import Annotation
from holohisto.runtime.open_files import OpenFiles


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
