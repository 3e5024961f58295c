"""Results of runs: records, dense checkpoints, and the store that keeps them."""
