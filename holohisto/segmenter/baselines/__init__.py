"""Networks over pixels (the rows of Table 1) and the colour threshold."""
