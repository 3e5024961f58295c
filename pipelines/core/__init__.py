"""Everything that a result depends on. A change here makes earlier records stale."""
