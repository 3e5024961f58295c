"""What a run leaves behind: records and checkpoints, and the store that keeps them."""
