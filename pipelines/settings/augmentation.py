"""The augmentation that a recipe asks for; `pipelines.data.augment` carries it out."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict, Field, field_validator

_POLICY = re.compile(r"rand-m\d+(-n\d+)?(-mstd\d+(\.\d+)?)?-inc1")


class Augmentation(BaseModel):
    """Random changes of training samples, drawn anew in each epoch; the default changes nothing.

    The changes are applied in the order of the parameters. All frames of one recording get the
    same change. Recordings can have `crop`, `flip` and `rotation` only.

    Parameters
    ----------
    resized_crop
        Whether a random part of an image becomes the input (arXiv 1409.4842). The part has 8 to
        100 % of the area and an aspect ratio of 3:4 to 4:3. For images that are read from files
        of any size.
    crop
        Number of black pixels that are added on each side before a random window of the original
        size is cut out.
    flip
        Whether samples are mirrored, left to right, with probability 0.5.
    rotation
        Largest angle in degrees. The angle is drawn between minus and plus this value; empty
        corners become black.
    policy
        RandAugment (arXiv 1909.13719) in timm's notation, with operations of increasing strength:
        ``rand-m9-mstd0.5-inc1`` is magnitude 9 of 10 with a standard deviation of 0.5, and two
        operations; ``-n3`` asks for three operations. Colour images only.
    colour_jitter
        Strength j of random colour changes: brightness, contrast and saturation are multiplied by
        factors between 1 - j and 1 + j, in random order. Colour images only.
    erasing
        Fraction of the samples in which a rectangle is replaced by noise (arXiv 1708.04896), after
        normalisation.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    resized_crop: bool = False
    crop: int = Field(0, ge=0, le=1024)
    flip: bool = False
    rotation: float = Field(0.0, ge=0, le=180)
    policy: str = ""
    colour_jitter: float = Field(0.0, ge=0, le=1)
    erasing: float = Field(0.0, ge=0, le=1)

    @field_validator("policy")
    @classmethod
    def _check_policy(cls, policy: str) -> str:
        if policy and not _POLICY.fullmatch(policy):
            raise ValueError(
                f"'{policy}' is not a known policy; write one like rand-m9-mstd0.5-inc1"
            )
        return policy

    @property
    def colours(self) -> bool:
        """Whether any change needs images of three colour channels."""
        return bool(self.policy or self.colour_jitter)

    @property
    def of_images(self) -> bool:
        """Whether any change is for images only, not for recordings of events."""
        return bool(self.resized_crop or self.colours or self.erasing)
