"""Read and write tiled TIFFs (labels, masks, slides) in bands of rows."""
