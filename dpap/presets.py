"""Presets: the constants and readings of DPAP, as in the paper and as in the released code.

A reading is one way to understand a rule that the paper leaves open, or that the released code
computes in another way.

=================  ========  ==============  ===============  ====================================
field              equation  paper           released code    meaning
=================  ========  ==============  ===============  ====================================
tau                1, 2      0.5             0.5              decay of the trace per time step
trace_mean         1, 2      False           True             divide the trace by T
theta              4, 5      unit (reading)  slot             threshold per unit, or per unit and
                                                              position in the batch
accumulate         6, 7      False           True             do not reset sums after an update
unit_importance    7         per-batch       product          sum of products, or product of
                                                              min-max sums
normalization      9         min-max         percentile       top is the maximum, or the 75th
                                                              percentile
epsilon (conv)     9         not printed     0.65             decay value; higher prunes more
epsilon (linear)   9         not printed     1.5
bonus (conv)       10        5               5                C, added where delta > 0
bonus (linear)     10        2               2
bonus_at_zero      10        True            False            whether delta = 0 earns the bonus
gamma              11        0.999           0.999            decay of the survival per update
beta               11        not printed     10               survival at the start
eta (conv)         11        not printed     12               decay rate, in updates
eta (linear)       11        not printed     13
decay              11        smooth          staircase        exp(-age / eta), or age in whole eta
first_update       -         not printed     5                survival changes from here on
=================  ========  ==============  ===============  ====================================

delta is 2 * importance - epsilon, with the importance scaled to [0, 1]. One update corresponds to
one epoch of the paper. Constants that the paper does not print are taken from the released code,
which covers CIFAR-10 only, with one exception. With the smooth decay, an epsilon of 0.65 cannot
prune any convolution channel: the survival starts at 10 and falls by at most 0.65 * 12.5 = 8.1. So
the `paper` preset has an epsilon of 1.4 for convolutions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

Theta = Literal["unit", "slot"]
UnitImportance = Literal["per-batch", "product"]
Normalization = Literal["min-max", "percentile"]
Decay = Literal["smooth", "staircase"]


@dataclass
class Preset:
    """One set of constants and readings; the table in the docstring of this module explains them.

    `dpap.DPAP` inherits these fields, so each of them is a hyper-parameter of DPAP.
    """

    tau: float = 0.5
    trace_mean: bool = False
    theta: Theta = "unit"
    accumulate: bool = False
    unit_importance: UnitImportance = "per-batch"
    normalization: Normalization = "min-max"
    conv_epsilon: float = 1.4
    linear_epsilon: float = 1.5
    conv_bonus: float = 5.0
    linear_bonus: float = 2.0
    bonus_at_zero: bool = True
    gamma: float = 0.999
    beta: float = 10.0
    conv_eta: float = 12.0
    linear_eta: float = 13.0
    decay: Decay = "smooth"
    first_update: int = 5


#: As in the paper (arXiv 2211.12714).
PAPER = Preset()
#: As in the authors' released code.
RELEASED = replace(
    PAPER,
    trace_mean=True,
    theta="slot",
    accumulate=True,
    unit_importance="product",
    normalization="percentile",
    conv_epsilon=0.65,
    bonus_at_zero=False,
    decay="staircase",
)
