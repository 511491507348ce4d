"""The figures that need a GPU, measured by one command in at most eight minutes."""
