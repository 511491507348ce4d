"""A synthetic cohort of PAS-like kidney slides to try the pipeline on."""
