"""The pictures and figures of the report."""
