"""The metrics of a run: one table that checks, tables, page, JSON, CSV and MLflow read."""
