"""The tolerance of the target density: how far from it a run may end."""

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


def off_target(spec: RunSpec, density: float) -> str:
    """Check a density against the target of a run.

    Parameters
    ----------
    spec
        The run.
    density
        Kept / prunable weights, in [0, 1].

    Returns
    -------
    str
        A message if the density is too far from the target; empty if it is not, or if the run has
        no target.
    """
    target = spec.target
    if target is None or abs(density - target) <= TOLERANCE[spec.granularity]:
        return ""
    return f"density {density:.4f} instead of {target}"
