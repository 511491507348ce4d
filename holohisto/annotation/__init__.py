"""Expert annotations: pictures or outlines of classes, read like the slide they belong to."""

from holohisto.annotation.reader import Annotation

__all__ = ["Annotation"]
