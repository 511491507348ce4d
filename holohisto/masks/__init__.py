"""From labels to delivered files: mask pyramids, outlines for QuPath, and an overlay."""
