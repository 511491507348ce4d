"""Segmenters: networks from a tile's tokens and pixels to one logit per class and pixel."""
