"""The outcome of a run: its curve, and accuracy, loss and cost of the finished network."""

from __future__ import annotations

from msgspec import field

from pipelines.common.structs import Count, Struct
from pipelines.records.correct import correct_samples

#: Energy in pJ of one 32-bit multiply-accumulate (MAC) and of one accumulate (AC) at 45 nm, as
#: usually cited from Horowitz (ISSCC 2014).
PICOJOULE_MAC, PICOJOULE_AC = 4.6, 0.9


class LayerCost(Struct, frozen=True, kw_only=True):
    """Cost of one layer. Operations are counted per sample, over all time steps.

    Parameters
    ----------
    density
        Kept / prunable weights, in [0, 1]; 1 for the readout.
    dense_operations
        Operations after physical removal, those on zero weights and zero inputs included.
    effective_macs, effective_acs
        MACs and ACs on weights and inputs that are not zero. A layer has one kind only: the other
        is 0.
    membrane_updates
        Neurons x time steps; 0 for neurons without a membrane (ReLU). None in old records, which
        did not measure it.
    firing_rate
        Fraction of the outputs of the layer's neurons that are not zero, in [0, 1]. None for the
        readout and for projection shortcuts, which have no neurons of their own.
    """

    density: float
    dense_operations: Count
    effective_macs: float
    effective_acs: float
    membrane_updates: Count | None = None
    firing_rate: float | None


class Cost(Struct, frozen=True, kw_only=True):
    """Cost of a finished network. Operations are counted per sample, over all time steps.

    Figures that are None were not measured by the code that made the record.

    Parameters
    ----------
    density
        Kept / prunable weights, in [0, 1].
    prunable
        Number of prunable weights of the dense network.
    parameters
        Number of parameters after physical removal, without masked weights.
    macs
        Dense operations after physical removal, all counted as MACs. FLOPs are twice that.
    effective_macs
        MACs (analogue inputs) on weights and inputs that are not zero.
    synops
        Effective ACs (spikes): spikes x existing fan-out.
    membrane_updates
        Spiking neurons after physical removal x time steps.
    activation_sparsity
        Fraction of zeros among the outputs of all neurons, time steps and samples, in [0, 1].
    connection_sparsity
        Zero weights / weights after physical removal, those of the readout included, in [0, 1].
    energy_nanojoule
        Energy proxy in nJ: 4.6 pJ per effective MAC, 0.9 pJ per effective AC. Memory traffic is
        not counted.
    timestep_sparsity
        Fraction of silenced (unit, time step) pairs of the units that remain, in [0, 1].
    latency_milliseconds
        Batch size -> median forward time in ms, after physical removal.
    masked_latency_milliseconds
        The same before physical removal, when pruned weights are masked only. Both are empty if
        the record has no times.
    layers
        Layer -> its cost.
    """

    density: float
    prunable: Count
    parameters: Count
    macs: Count
    effective_macs: float
    synops: float
    membrane_updates: Count | None = None
    activation_sparsity: float | None = None
    connection_sparsity: float | None = None
    energy_nanojoule: float
    timestep_sparsity: float = 0.0
    latency_milliseconds: dict[int, float] = field(default_factory=dict)
    masked_latency_milliseconds: dict[int, float] = field(default_factory=dict)
    layers: dict[str, LayerCost]


class EpochPoint(Struct, frozen=True, kw_only=True):
    """One point of the curve: the state of a run after one epoch.

    Parameters
    ----------
    samples
        Samples charged to the budget since the start.
    train_loss
        Mean loss over the samples of the epoch, each computed before its training step.
    validation_accuracy, validation_loss
        Accuracy in [0, 1] and mean loss on the validation split, after the epoch.
    density
        Kept / prunable weights, in [0, 1].
    firing_rate
        Mean firing rate of the layers on the validation split, in [0, 1] per time step.
    learning_rate
        Learning rate after the epoch.
    seconds
        Wall-clock time of training since the start, without evaluations, in s; None if the
        record has no times.
    """

    samples: Count
    train_loss: float
    validation_accuracy: float
    validation_loss: float
    density: float
    firing_rate: float
    learning_rate: float
    seconds: float | None = None


class Outcome(Struct, frozen=True, kw_only=True):
    """What the finished network reached and costs.

    The test split is opened once, for the network after the last training step. A tuning trial
    never opens it: it has no test figures, and its cost is measured on the validation split.

    Parameters
    ----------
    test_accuracy, validation_accuracy
        Correct answers / samples, in [0, 1].
    test_loss
        Mean loss over the test samples.
    layout
        Layout of the network after physical removal.
    cost
        Cost of the network after physical removal.
    confusion
        Confusion matrix: number of test samples by true class (row) and predicted class (column).
        None for more than 20 classes, and in old records, which did not measure it.
    correct
        Which test samples were classified correctly, in the order of the split: one bit each, the
        first in the highest bit of the first byte, in base64. None for more than 20,000 samples,
        in tuning trials, and in old records.

    Raises
    ------
    ValueError
        If `correct` is not base64.
    """

    test_accuracy: float | None
    test_loss: float | None
    validation_accuracy: float
    layout: str
    cost: Cost
    confusion: list[list[Count]] | None = None
    correct: str | None = None

    def __post_init__(self) -> None:
        if self.correct is not None:
            try:
                correct_samples(self.correct)
            except ValueError as error:
                raise ValueError(f"`correct` is not base64 ({error}).") from None
