"""Machine code from Python: the vector language, kernels written in it, and the image builder."""
