"""The tolerance of a target: how far from it a run may end."""

from __future__ import annotations

from pipelines.settings.spec import RunSpec

#: Granularity -> largest difference between the target and the density that a run ends with.
#: Structured pruning has the largest tolerance, because it cannot remove single weights.
TOLERANCE = {
    "none": 0.0,
    "structured": 0.02,
    "unstructured": 0.005,
    "hybrid": 0.005,
    "spatio-temporal": 0.005,
}
#: Largest difference between target SynOps and those that a run ends with, as a share of the
#: target. It covers one unit of a narrow layer, and firing rates that change after the last update.
SYNOPS_TOLERANCE = 0.1


def off_target(spec: RunSpec, density: float, synops: float) -> str:
    """Check the final density, or the final SynOps, against the target of a run.

    Parameters
    ----------
    spec
        The run.
    density
        Kept / prunable weights, in [0, 1].
    synops
        SynOps per sample of the final network.

    Returns
    -------
    str
        A message if the run is too far from its target; empty if it is not, or if the run has no
        target. A control keeps the densities of its parent, so target SynOps are not its own.
    """
    target = spec.target
    if spec.synops is not None and not spec.control:
        missed = abs(synops / spec.synops - 1) > SYNOPS_TOLERANCE
        return f"{synops:.0f} SynOps instead of {spec.synops:.0f}" if missed else ""
    if target is None or abs(density - target) <= TOLERANCE[spec.granularity]:
        return ""
    return f"density {density:.4f} instead of {target}"
