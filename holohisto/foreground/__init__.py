"""Find the tissue of a slide, and read its pixels in the common stain."""
