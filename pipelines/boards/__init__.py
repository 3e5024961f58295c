"""Boards: which cells a comparison consists of, and what they take to compute."""
