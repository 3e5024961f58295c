"""Which test samples a network classified correctly, as a record keeps it: one bit each."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def correct_text(correct: Sequence[bool] | NDArray[np.bool_]) -> str:
    """Return the bits in base64: the first sample is the highest bit of the first byte."""
    return base64.b64encode(np.packbits(np.asarray(correct, dtype=bool)).tobytes()).decode()


def correct_samples(text: str) -> NDArray[np.bool_]:
    """Return whether each sample was correct: bool [samples + up to 7 zeros that fill a byte].

    Raises
    ------
    ValueError
        If the text is not base64.
    """
    packed = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    return np.unpackbits(packed).astype(bool)
