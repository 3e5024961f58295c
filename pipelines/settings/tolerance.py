"""How far from its target density a run may end."""

from __future__ import annotations

from pipelines.settings.spec import RunSpec

#: By granularity: whole units are coarser than single weights.
TOLERANCE = {
    "none": 0.0,
    "structured": 0.02,
    "unstructured": 0.005,
    "hybrid": 0.005,
    "spatio-temporal": 0.005,
}


def off_target(spec: RunSpec, density: float) -> str:
    """Say that a density is too far from the target of a run, if it is."""
    target = spec.target
    if target is None or abs(density - target) <= TOLERANCE[spec.granularity]:
        return ""
    return f"density {density:.4f} instead of {target}"
