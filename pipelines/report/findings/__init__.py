"""Findings: sentences about the records of boards, and verdicts on published claims."""
