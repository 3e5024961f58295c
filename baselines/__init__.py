"""Pruning methods, one per file; `baselines.shared` holds their contract and common parts."""
