"""For people who write methods: the checks of the contract, a scaffold, and tuning."""
