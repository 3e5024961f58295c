"""What is asked for: network, workload and recipe, and the specification of one run."""
