"""Boards: which cells a comparison consists of, and what it costs to compute them."""
