"""Expert annotations: masks or outlines of classes, read at the positions of their slide."""

from holohisto.annotation.reader import Annotation

__all__ = ["Annotation"]
