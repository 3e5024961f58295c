"""Tools that do not depend on pruning: errors, files, archives, YAML, alignment, structs."""
