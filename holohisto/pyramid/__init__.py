"""Tiled TIFF in and out: labels, masks and slides, streamed in bands of rows."""
