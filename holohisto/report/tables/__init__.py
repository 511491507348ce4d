"""The tables of the report, as data frames and as HTML."""
