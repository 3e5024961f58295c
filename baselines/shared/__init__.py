"""What methods share: the contract that they meet, and the parts that they are built from."""
