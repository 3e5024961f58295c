"""Statistics: intervals, tests and ranks of numbers, without knowledge of boards."""
