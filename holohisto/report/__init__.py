"""The report: one HTML file that needs nothing else, whatever part of the run is missing."""

from holohisto.report.gather import Run
from holohisto.report.page import render
from holohisto.report.provenance import provenance
from holohisto.report.tables import frames
from holohisto.report.trained import trained

__all__ = ["Run", "frames", "provenance", "render", "trained"]
