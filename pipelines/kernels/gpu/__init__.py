"""Kernels in Triton, each beside the module that calls it."""
