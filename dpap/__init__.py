"""DPAP: developmental plasticity-inspired adaptive pruning (arXiv 2211.12714)."""

from dpap.pruner import DPAP

__all__ = ["DPAP"]
