"""Where the tissue of a slide is, and its pixels in the common stain."""
