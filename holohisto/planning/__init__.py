"""The plan of a run: slides and parameters of the rules, resources, cost."""
