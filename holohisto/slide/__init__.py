"""Reading slides: any format, level-0 positions, working resolution."""
