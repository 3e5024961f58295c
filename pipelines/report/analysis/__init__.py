"""Analysis of the records of a board: rows, comparisons, ranks, areas, changes."""
