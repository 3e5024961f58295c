"""One run from start to end: the training loop, its measurements, and its record."""
