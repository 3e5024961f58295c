"""Statistics over the records of a board: rows, comparisons, ranks, areas."""
