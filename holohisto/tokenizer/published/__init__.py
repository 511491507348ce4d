"""Published VQGANs in the layouts they come in, read strictly and without running anything.

Empty on purpose: the workflow asks `layout` which files there are, and must not load torch.
"""
