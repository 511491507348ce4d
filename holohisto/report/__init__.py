"""The report: one self-contained HTML file, also of a run with missing or broken results."""
