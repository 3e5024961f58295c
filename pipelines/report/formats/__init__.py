"""What a table is, and how tables are written as Markdown and LaTeX."""
