"""From labels to what is delivered: mask pyramids, outlines for QuPath, and an overlay."""
