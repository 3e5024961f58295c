"""Canaries: small cells with recorded outcomes; they prove that a change moved no result."""
