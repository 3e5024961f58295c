"""Data sets: one module per source, fixed splits, verified files."""

from pipelines.data.catalogue import SOURCES, fetch, load_test, load_training

__all__ = ["SOURCES", "fetch", "load_test", "load_training"]
