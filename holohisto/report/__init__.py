"""The report: one HTML file that needs nothing else, whatever part of the run is missing."""

from holohisto.report.gather import Run
from holohisto.report.page import render

__all__ = ["Run", "render"]
