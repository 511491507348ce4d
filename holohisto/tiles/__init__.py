"""Tiles of a slide, and the variants (orientation, scale, appearance) in which they are read."""
