"""The report: one HTML file that needs nothing else, whatever part of the run is missing."""
