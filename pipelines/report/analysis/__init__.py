"""Statistics over records: rows, comparisons, ranks, areas."""
