"""The constants of DPAP, each with its equation and where its value comes from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """One set of constants.

    An update stands for the paper's epoch. The paper prints tau, C and gamma; the released
    code gives beta, epsilon, eta and the first update, for its CIFAR-10 network alone.
    """

    #: (1) (2), decay of the trace per time step; paper 0.5.
    tau: float = 0.5
    #: (11), decay of the survival per update; paper 0.999.
    gamma: float = 0.999
    #: (11), survival at the start; not in the paper, released code 10.
    beta: float = 10.0
    #: First update at which survival changes; not in the paper, released code 5.
    first_update: int = 5
    #: (10), bonus in convolutions; paper 5.
    conv_bonus: float = 5.0
    #: (10), bonus in linear layers; paper 2.
    linear_bonus: float = 2.0
    #: (9), decay value in convolutions; not in the paper. The released code has 0.65 beside a
    #: staircase in place of exp(-e / eta); with the smooth factor 0.65 would prune no channel.
    conv_epsilon: float = 1.4
    #: (9), decay value in linear layers; not in the paper, released code 1.5.
    linear_epsilon: float = 1.5
    #: (11), decay rate in convolutions, in updates; not in the paper, released code 12.
    conv_eta: float = 12.0
    #: (11), decay rate in linear layers, in updates; not in the paper, released code 13.
    linear_eta: float = 13.0


PAPER = Preset()
