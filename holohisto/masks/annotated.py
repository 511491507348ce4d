"""The annotation in the overlay."""

from holohisto.annotation import Annotation
from holohisto.config.sections import MaskOptions
from holohisto.masks import cleaning, outlines
from holohisto.masks.frame import Frame, annotation_bands
from holohisto.masks.overlay import Overlay

UNCLEANED = MaskOptions(min_object_um2=0, max_hole_um2=0)


def add_annotation(overlay: Overlay, annotation: Annotation, frame: Frame, classes: int) -> None:
    """Draw the outlines of the annotation, uncleaned, into the overlay, and count its objects.

    Args:
        overlay: The overlay.
        annotation: The annotation of the slide.
        frame: The slide.
        classes: Number of classes.
    """
    bands = annotation_bands(annotation, frame)
    objects = cleaning.find(bands, list(range(classes)), frame.pixel_um2, UNCLEANED)
    for _, _, polygons in outlines.polygons_of(bands, objects):
        overlay.add(outlines.scaled(polygons, frame.scale, frame.size), None)
    count = sum(len(of_class.table) for of_class in objects.values())
    overlay.name_objects("annotation", count, None)
