"""Shared by all methods: the contract with the training loop, and reusable parts of methods."""
