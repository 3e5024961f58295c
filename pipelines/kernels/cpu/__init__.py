"""Kernels in C, each beside the module that calls it."""
