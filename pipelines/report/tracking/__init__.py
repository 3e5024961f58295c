"""MLflow: the records, copied into a tracking store."""
