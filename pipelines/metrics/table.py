"""The table of metrics. To add a metric, add an entry here (docs/metrics.md)."""

from __future__ import annotations

from collections.abc import Callable

from pipelines.metrics import conventions
from pipelines.metrics.metric import Axis, Metric
from pipelines.metrics.numbers import count, decimal, percent
from pipelines.records.outcome import Cost, Outcome
from pipelines.records.record import RunRecord


def of_outcome(read: Callable[[Outcome], float | None]) -> Callable[[RunRecord], float | None]:
    """Read a figure of the outcome; None for a run that has none."""
    return lambda record: None if record.outcome is None else read(record.outcome)


def of_cost(read: Callable[[Cost], float | None]) -> Callable[[RunRecord], float | None]:
    """Read a figure of the cost; None for a run that has no outcome."""
    return of_outcome(lambda outcome: read(outcome.cost))


def _samples_per_second(record: RunRecord) -> float | None:
    seconds = record.train_seconds
    return sum(record.spent.values()) / seconds if seconds else None


#: Every metric by name, in the order of the columns.
METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "test_accuracy",
            "accuracy %",
            "Test accuracy of the last iterate: mean over seeds ± half-width of the 95 % "
            "interval over seeds and test samples.",
            read=of_outcome(lambda outcome: outcome.test_accuracy),
            format=percent,
            bounds=(0, 1),
        ),
        Metric(
            "test_loss",
            "test loss",
            "Loss on the test split: mean over its samples.",
            read=of_outcome(lambda outcome: outcome.test_loss),
            format=lambda mean: decimal(mean, 4),
            column=False,
        ),
        Metric(
            "density",
            "density",
            "Kept / prunable weights that were reached.",
            read=of_cost(lambda cost: cost.density),
            format=lambda mean: decimal(mean, 3),
            bounds=(0, 1),
            axis=Axis("density", "density (kept / prunable weights)", at_targets=True),
        ),
        Metric(
            "parameters",
            "parameters",
            "Parameters that exist after physical removal, without masked weights.",
            read=of_cost(lambda cost: cost.parameters),
            format=count,
        ),
        Metric(
            "flops",
            "FLOPs (2 x MACs)",
            "Per sample over all time steps, dense hardware, after physical removal; a static "
            "first layer at each step.",
            read=of_cost(lambda cost: 2 * cost.macs),
            format=count,
            axis=Axis("FLOPs", "FLOPs per sample (2 x MACs, dense hardware)"),
        ),
        Metric(
            "flops_static_once",
            "FLOPs, static once",
            "FLOPs with a static first layer computed once instead of at each time step.",
            read=conventions.flops_static_once,
            format=count,
            column=False,
        ),
        Metric(
            "dense_macs",
            "dense MACs",
            "Operations of the layers with analogue inputs, zeros included, per sample; a static "
            "first layer at each step. In an artificial network these are all layers.",
            read=conventions.dense_macs,
            format=count,
            column=False,
        ),
        Metric(
            "effective_macs",
            "effective MACs",
            "MACs on nonzero weights and nonzero analogue inputs, per sample over all time steps; "
            "a static first layer at each step.",
            read=of_cost(lambda cost: cost.effective_macs),
            format=count,
            column=False,
        ),
        Metric(
            "effective_macs_static_once",
            "effective MACs, static once",
            "Effective MACs with a static first layer computed once.",
            read=conventions.effective_macs_static_once,
            format=count,
            column=False,
        ),
        Metric(
            "synops",
            "SynOps",
            "Spikes times existing fan-out, per sample over all time steps.",
            read=of_cost(lambda cost: cost.synops),
            format=count,
            axis=Axis("SynOps", "SynOps per sample"),
        ),
        Metric(
            "synops_static_once",
            "SynOps, static once",
            "SynOps with a static first layer computed once. They differ only where pixels are 0 "
            "or 1, so that they are counted as spikes.",
            read=conventions.synops_static_once,
            format=count,
            column=False,
        ),
        Metric(
            "membrane_updates",
            "membrane updates",
            "Spiking neurons that exist after physical removal, times time steps.",
            read=of_cost(lambda cost: cost.membrane_updates),
            format=count,
            column=False,
        ),
        Metric(
            "activation_sparsity",
            "activation sparsity %",
            "Share of the neurons' outputs that are zero, over neurons, time steps and samples.",
            read=of_cost(lambda cost: cost.activation_sparsity),
            format=percent,
            bounds=(0, 1),
            column=False,
        ),
        Metric(
            "connection_sparsity",
            "connection sparsity %",
            "Zero weights / weights that exist after physical removal, the readout's included.",
            read=of_cost(lambda cost: cost.connection_sparsity),
            format=percent,
            bounds=(0, 1),
            column=False,
        ),
        Metric(
            "timestep_sparsity",
            "timestep sparsity %",
            "Silenced (unit, time step) pairs among those of the surviving units.",
            read=of_cost(lambda cost: cost.timestep_sparsity),
            format=lambda mean: percent(mean, 1),
            bounds=(0, 1),
            column=False,
        ),
        Metric(
            "energy_nanojoule",
            "energy nJ",
            "Proxy: 4.6 pJ per effective MAC, 0.9 pJ per SynOp; no memory traffic; a static first "
            "layer at each step.",
            read=of_cost(lambda cost: cost.energy_nanojoule),
            format=lambda mean: decimal(mean, 1),
            axis=Axis("energy", "energy per sample, nJ (proxy)"),
        ),
        Metric(
            "energy_nanojoule_static_once",
            "energy nJ, static once",
            "The same proxy with a static first layer computed once.",
            read=conventions.energy_static_once,
            format=lambda mean: decimal(mean, 1),
            column=False,
            axis=Axis("energy, static once", "energy per sample, nJ (static layer once)"),
        ),
        Metric(
            "energy_nanojoule_dense_macs",
            "energy nJ, dense MACs",
            "The same proxy with 4.6 pJ per dense MAC, a static first layer computed once, and "
            "0.9 pJ per SynOp.",
            read=conventions.energy_dense_macs,
            format=lambda mean: decimal(mean, 1),
            column=False,
        ),
        Metric(
            "storage_bytes_bitmap",
            "bytes, bitmap",
            "Parameters in float32, and a bitmap of the kept weights of each layer with masked "
            "weights.",
            read=conventions.storage_bitmap,
            format=count,
            column=False,
        ),
        Metric(
            "storage_bytes_csr",
            "bytes, CSR",
            "Parameters in float32, and the CSR index of each layer with masked weights.",
            read=conventions.storage_csr,
            format=count,
            column=False,
        ),
        Metric(
            "train_seconds",
            "train s",
            "Wall-clock of training, evaluations left out; comparable within one machine only.",
            read=lambda record: record.train_seconds,
            format=lambda mean: decimal(mean, 1),
            axis=Axis("training time", "training time, s", scale="linear"),
            one_machine=True,
        ),
        Metric(
            "samples_per_second",
            "samples/s",
            "Training samples charged per second of training.",
            read=_samples_per_second,
            format=lambda mean: decimal(mean, 0),
            column=False,
            one_machine=True,
        ),
        Metric(
            "latency_milliseconds",
            "ms, batch 1",
            "Forward time of one sample after physical removal.",
            read=of_cost(lambda cost: cost.latency_milliseconds.get(1)),
            format=decimal,
            column=False,
            one_machine=True,
        ),
        Metric(
            "latency_milliseconds_batch_128",
            "ms, batch 128",
            "Forward time of 128 samples at once after physical removal.",
            read=of_cost(lambda cost: cost.latency_milliseconds.get(128)),
            format=decimal,
            column=False,
            one_machine=True,
        ),
        Metric(
            "masked_latency_milliseconds",
            "ms, batch 1, masked",
            "Forward time of one sample with masks alone, before physical removal.",
            read=of_cost(lambda cost: cost.masked_latency_milliseconds.get(1)),
            format=decimal,
            column=False,
            one_machine=True,
        ),
        Metric(
            "masked_latency_milliseconds_batch_128",
            "ms, batch 128, masked",
            "Forward time of 128 samples at once with masks alone, before physical removal.",
            read=of_cost(lambda cost: cost.masked_latency_milliseconds.get(128)),
            format=decimal,
            column=False,
            one_machine=True,
        ),
    )
}

#: What methods are compared by: rows have its value for each seed, and not only the mean.
ACCURACY = METRICS["test_accuracy"]
