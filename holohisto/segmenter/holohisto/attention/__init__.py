"""Multi-scale ReLU linear attention (arXiv 2205.14756), and softmax attention beside it."""
