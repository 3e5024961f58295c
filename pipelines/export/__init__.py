"""Pruned networks as files for deployment."""
