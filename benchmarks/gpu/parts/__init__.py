"""The parts of the benchmark, each a function `measure(task)`."""
