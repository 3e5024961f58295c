"""Engines compute many cells: one after another, in several processes, or on several machines."""
