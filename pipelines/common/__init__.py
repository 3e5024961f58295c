"""Small tools that know nothing of pruning: errors, files, archives, YAML, serialization."""
