"""For authors of methods: checks of the contract, a scaffold for new methods, and tuning."""
