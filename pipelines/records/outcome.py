"""What a run measures: its curve, and what the finished network reaches and costs."""

from __future__ import annotations

from pipelines.common.structs import Struct

#: Energy of one 32-bit operation at 45 nm in pJ, as the field quotes Horowitz (ISSCC 2014).
PICOJOULE_MAC, PICOJOULE_AC = 4.6, 0.9


class LayerCost(Struct, frozen=True, kw_only=True):
    """Cost of one layer; operations are per sample over all steps.

    Parameters
    ----------
    density
        Kept / prunable weights; 1 for the readout.
    dense_operations
        Operations after physical removal, whatever is zero.
    effective_macs, effective_acs
        Operations on weights and inputs that are not zero; one of the two is zero.
    membrane_updates
        Neurons x steps; 0 where no neuron has a membrane. None: not measured then.
    firing_rate
        1 - the layer's activation sparsity; None for the readout and projection shortcuts, which
        have no neurons of their own.
    """

    density: float
    dense_operations: int
    effective_macs: float
    effective_acs: float
    membrane_updates: int | None = None
    firing_rate: float | None


class Cost(Struct, frozen=True, kw_only=True):
    """Cost of a finished network; operations are per sample over all steps.

    Parameters
    ----------
    density
        Kept / prunable weights.
    prunable
        Prunable weights of the dense network.
    parameters
        Parameters that exist after physical removal; masked entries do not count.
    macs
        Dense operations after physical removal, all counted as MACs. FLOPs are twice that.
    effective_macs, synops
        Effective MACs (analogue inputs) and effective ACs (spikes).
    membrane_updates
        Spiking neurons that exist after physical removal x steps. None: not measured then.
    activation_sparsity
        Share of the neurons' outputs that are zero, over all neurons, steps and samples; or None.
    connection_sparsity
        Zero weights / those that exist after physical removal, the readout's included; or None.
    timestep_sparsity
        Silenced (unit, time step) pairs among those of the surviving units.
    energy_nanojoule
        Proxy: 4.6 pJ per effective MAC, 0.9 pJ per AC; no memory traffic.
    latency_milliseconds
        Median forward time by batch size, after physical removal; `masked_latency_milliseconds`
        is that of the network with masks alone.
    """

    density: float
    prunable: int
    parameters: int
    macs: int
    effective_macs: float
    synops: float
    membrane_updates: int | None = None
    activation_sparsity: float | None = None
    connection_sparsity: float | None = None
    energy_nanojoule: float
    timestep_sparsity: float = 0.0
    latency_milliseconds: dict[int, float]
    masked_latency_milliseconds: dict[int, float]
    layers: dict[str, LayerCost]


class EpochPoint(Struct, frozen=True, kw_only=True):
    """State after one epoch.

    Parameters
    ----------
    samples
        Charged so far.
    train_loss
        Mean over the epoch, before each step.
    validation_accuracy, validation_loss
        Of the network as it is.
    density
        Kept / prunable weights.
    firing_rate
        Mean over the layers, in [0, 1] per step, on the validation split.
    learning_rate
        After the epoch.
    seconds
        Wall-clock of training alone, so far.
    """

    samples: int
    train_loss: float
    validation_accuracy: float
    validation_loss: float
    density: float
    firing_rate: float
    learning_rate: float
    seconds: float


class Outcome(Struct, frozen=True, kw_only=True):
    """What a run reached; the test split was opened once, on the last iterate.

    A trial of the tuning never opens it: it has no test figures, and its cost is that on the
    validation split.

    Parameters
    ----------
    test_accuracy, validation_accuracy
        Right / all, in [0, 1].
    test_loss
        Mean over the samples.
    layout
        Of the compacted network.
    cost
        What the compacted network costs.
    confusion
        Test samples by true class (row) and answer (column). None for more than 20 classes, or
        not measured then.
    """

    test_accuracy: float | None
    test_loss: float | None
    validation_accuracy: float
    layout: str
    cost: Cost
    confusion: list[list[int]] | None = None
