"""What every step needs around its work: atomic files, journals, progress, GPUs, signals, units."""
