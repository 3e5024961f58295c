"""The tables of a board, and the documents that hold all of them."""
