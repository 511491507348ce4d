"""The VQGAN: network, codebook, frozen normalisation, training, files."""
