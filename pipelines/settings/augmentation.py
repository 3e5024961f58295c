"""What augmentation a recipe asks for. How it is done: `pipelines.data.augment`."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field, field_validator

_POLICY = re.compile(r"rand-m\d+(-n\d+)?(-mstd\d+(\.\d+)?)?-inc1")


class Augmentation(BaseModel):
    """Random changes of training samples, drawn anew in each epoch; the default changes nothing.

    They come in the order of the parameters. Frames of one recording are changed alike; only
    `crop`, `flip` and `rotation` are for recordings.

    Parameters
    ----------
    resized_crop
        Whether a random part of an image, 8 to 100 % of its area and 3:4 to 4:3 in shape, becomes
        the input (arXiv 1409.4842); for images that are read from files of any size.
    crop
        Black pixels that are added on each side before a window of the old size is cut out.
    flip
        Whether every second sample is mirrored, left to right.
    rotation
        Degrees; the angle is drawn between minus and plus this, and corners become black.
    policy
        RandAugment (arXiv 1909.13719) with operations of increasing strength, as timm writes it:
        ``rand-m9-mstd0.5-inc1`` is magnitude 9 of 10 with a standard deviation of 0.5; ``-n3``
        makes it three operations instead of two. Colour images only.
    colour_jitter
        Brightness, contrast and saturation are multiplied by a factor between 1 minus and 1 plus
        this, in random order. Colour images only.
    erasing
        Part of the samples in which a rectangle becomes noise (arXiv 1708.04896), after
        normalisation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    resized_crop: bool = False
    crop: int = Field(0, ge=0)
    flip: bool = False
    rotation: float = Field(0.0, ge=0, le=180)
    policy: str = ""
    colour_jitter: float = Field(0.0, ge=0, le=1)
    erasing: float = Field(0.0, ge=0, le=1)

    @field_validator("policy")
    @classmethod
    def _known(cls, policy: str) -> str:
        if policy and not _POLICY.fullmatch(policy):
            raise ValueError(
                f"'{policy}' is no policy of this suite; write one like rand-m9-mstd0.5-inc1"
            )
        return policy

    @property
    def colours(self) -> bool:
        """Whether anything is asked for that needs three channels."""
        return bool(self.policy or self.colour_jitter)

    @property
    def of_images(self) -> bool:
        """Whether anything is asked for that recordings cannot have."""
        return bool(self.resized_crop or self.colours or self.erasing)
