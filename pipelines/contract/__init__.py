"""The contract as rules: what every method owes, told in sentences that teach."""
