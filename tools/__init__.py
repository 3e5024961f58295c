"""Developer tools: they write tables and pictures of docs/, and are not installed."""
