"""Published VQGANs in the layouts they come in, read strictly and without running anything.

Empty on purpose: `holohisto.config.checkpoint_files` finds the files without loading torch.
"""
