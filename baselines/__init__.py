"""Pruning methods, one file each, and the contract that all of them meet."""
