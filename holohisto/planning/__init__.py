"""What a run costs and asks for, before and while the workflow is planned."""
