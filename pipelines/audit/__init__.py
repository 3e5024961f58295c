"""Checks of records: seals, contradictions, second runs, submissions."""
