"""Engines run many cells: one after another, or in several processes."""
