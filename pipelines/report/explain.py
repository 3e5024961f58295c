"""A picture of DPAP's survival function, from the package's own rules."""

from __future__ import annotations

from pathlib import Path

import altair as alt
import torch
import vl_convert

from dpap.layer import LayerState
from dpap.presets import PAPER, RELEASED
from pipelines.core.data.files import atomic_file
from pipelines.report.figures import PALETTE

IMPORTANCES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
UPDATES = 100


def survival_points() -> list[dict[str, float | str]]:
    """Survival of units of constant normalised importance, over the updates of a run."""
    points: list[dict[str, float | str]] = []
    for name, preset in (("paper", PAPER), ("released", RELEASED)):
        for kind in ("conv", "linear"):
            rule = LayerState(kind, 1, 1, preset).survival_rule
            # Four units at the top make the 75th percentile 1 as well.
            importance = torch.tensor([*IMPORTANCES, 1.0, 1.0, 1.0])
            value = torch.full_like(importance, preset.beta)
            for update in range(UPDATES):
                if update >= preset.first_update:
                    value = rule.update(value, importance, update - preset.first_update)
                for u, survival in zip(IMPORTANCES, value.tolist(), strict=False):
                    points.append(
                        {
                            "preset": f"{name}, {kind}",
                            "update": update,
                            "importance": f"{u:g}",
                            "survival": round(survival, 3),
                        }
                    )
    return points


def survival_figure() -> alt.FacetChart:
    """Four panels: paper and released, conv and linear; below zero a unit is pruned."""
    base = alt.Chart().encode(
        x=alt.X("update:Q"),
        y=alt.Y("survival:Q", scale=alt.Scale(domain=[-5, 40], clamp=True)),
        color=alt.Color(
            "importance:N", title="importance u", scale=alt.Scale(range=list(PALETTE[:6]))
        ),
    )
    zero = alt.Chart().mark_rule(strokeDash=[4, 3]).encode(y=alt.datum(0))
    return (
        alt.layer(base.mark_line(), zero, data=alt.Data(values=survival_points()))
        .properties(width=260, height=170)
        .facet(facet=alt.Facet("preset:N", title=None), columns=2)
        .properties(title="Survival of a unit of constant importance; below 0 it is pruned")
    )


def main() -> None:
    """Write docs/dpap-survival.png."""
    with atomic_file(Path("docs/dpap-survival.png")) as file:
        file.write(vl_convert.vegalite_to_png(survival_figure().to_dict(), scale=1))


if __name__ == "__main__":
    main()
