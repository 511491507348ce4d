"""The sample sheet: one row per slide; all mistakes in it are reported together."""
