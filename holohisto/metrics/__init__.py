"""Scores of delivered masks against annotations: int64 counts, gathered band by band."""
