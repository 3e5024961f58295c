"""Attachment: any pruning method in any training loop, on any network that it can prove."""

from dpap.attachment.handle import Attachment, attach
from dpap.attachment.surgery import resize
from dpap.attachment.units import Unremovable

__all__ = ["Attachment", "Unremovable", "attach", "resize"]
