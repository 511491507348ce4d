"""The sample sheet: one row a slide, read with every mistake reported at once."""
