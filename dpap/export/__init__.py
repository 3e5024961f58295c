"""Export of a user's own network, dense or compacted, to the format NIR."""
