"""HoloHisto: gigapixel kidney slides to masks, cohort statistics and one report."""

__version__ = "0.1.0"
