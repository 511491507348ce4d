"""Tiles and the variants in which they are seen: arithmetic on working pixels and arrays."""
