"""One run from start to end: the training loop, its measurements, and the record it makes."""
