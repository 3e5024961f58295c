"""Settings: network, workload and recipe, and the specification of one run."""
