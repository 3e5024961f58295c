"""Export of the pruned network of a run to files for deployment."""
