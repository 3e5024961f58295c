"""Data sets with fixed splits and verified files; one module each in `sets`."""

from pipelines.data.catalogue import SOURCES, fetch, load_test, load_training

__all__ = ["SOURCES", "fetch", "load_test", "load_training"]
