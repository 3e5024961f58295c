"""MLflow: copies the records into a tracking store."""
