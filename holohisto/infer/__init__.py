"""Whole-slide inference by row bands: memory O(width x tile height), never O(slide)."""
