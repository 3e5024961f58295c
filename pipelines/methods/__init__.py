"""Methods: the registry, their metadata without imports, and which runs they can do."""
