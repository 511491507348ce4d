"""Examples for the eye: typical fields beside each model, and the largest errors."""

from holohisto.examples.choice import densest, largest_errors, objects_drawn, typical, worst
from holohisto.examples.drawing import Field, bar_length, outlined, shrunk, with_bar, with_box

__all__ = [
    "Field",
    "bar_length",
    "densest",
    "largest_errors",
    "objects_drawn",
    "outlined",
    "shrunk",
    "typical",
    "with_bar",
    "with_box",
    "worst",
]
