"""Tables, figures, the page and MLflow: made from records alone; no result depends on it."""
