"""Expert annotations: pictures or outlines of classes, read like the slide they belong to."""

from holohisto.annotation.reader import Annotation, annotated_classes

__all__ = ["Annotation", "annotated_classes"]
