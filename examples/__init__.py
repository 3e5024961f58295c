"""Networks and data sets of your own: factories that workloads of params.yaml name."""
