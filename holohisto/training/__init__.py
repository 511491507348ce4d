"""Training segmenters: sampler, batches, loss, validation, checkpoints."""
