"""A picture of DPAP's survival function, from the package's own rules."""

from __future__ import annotations

from pathlib import Path

import torch

from dpap.layer import LayerState
from dpap.presets import PAPER, RELEASED
from pipelines.common.files import atomic_file
from pipelines.report.charts.accuracy import PALETTE
from pipelines.report.charts.vega import Part, data, draw, figure, layer, nominal, png, quantitative

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


def survival_figure() -> Part:
    """Four panels: paper and released, conv and linear; below zero a unit is pruned."""
    colour = nominal("importance", title="importance u", scale={"range": PALETTE[:6]})
    y = quantitative("survival", scale={"domain": [-5, 40], "clamp": True})
    layers = [
        layer("line", {"x": quantitative("update"), "y": y, "color": colour}),
        layer("rule", {"y": {"datum": 0}}, strokeDash=[4, 3]),
    ]
    return figure(
        "Survival of a unit of constant importance; below 0 it is pruned",
        data=data(survival_points()),
        facet=nominal("preset", title=None),
        columns=2,
        spec={"layer": layers, "width": 260, "height": 170},
    )


def main() -> None:
    """Write docs/dpap-survival.png."""
    with atomic_file(Path("docs/dpap-survival.png")) as file:
        file.write(png(draw(survival_figure()), scale=1))


if __name__ == "__main__":
    main()
