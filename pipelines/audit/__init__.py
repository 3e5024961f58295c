"""Checks of records: seals, faults, plausibility, second runs, submissions."""
