"""The gallery: typical fields beside each model, and the largest errors."""
