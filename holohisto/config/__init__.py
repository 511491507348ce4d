"""The configuration: every option, its default, its limits and its description."""
