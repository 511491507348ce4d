"""Examples for the eye: typical fields beside each model, and the largest errors."""
