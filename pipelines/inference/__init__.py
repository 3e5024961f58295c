"""Inference of final networks: an event-driven path, and measured CPU time and energy."""
