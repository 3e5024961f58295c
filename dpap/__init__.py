"""DPAP: developmental plasticity-inspired adaptive pruning (arXiv 2211.12714)."""

from dpap.attachment.handle import Attachment, attach
from dpap.presets import PAPER, RELEASED
from dpap.pruner import DPAP, SpatioTemporalDPAP

__all__ = ["DPAP", "PAPER", "RELEASED", "Attachment", "SpatioTemporalDPAP", "attach"]
