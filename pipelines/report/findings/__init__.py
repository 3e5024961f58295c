"""Findings: what the records of boards say in sentences, and which published claims they bear out."""
