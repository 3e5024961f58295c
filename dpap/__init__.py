"""DPAP: developmental plasticity-inspired adaptive pruning (arXiv 2211.12714)."""

from dpap.presets import PAPER, RELEASED
from dpap.pruner import DPAP, SpatioTemporalDPAP
from dpap.standalone import Attachment, attach

__all__ = ["DPAP", "PAPER", "RELEASED", "Attachment", "SpatioTemporalDPAP", "attach"]
