"""Fidelity: measures whether methods do what their names say; draws a table of docs/baselines.md.

``python -m tools.fidelity`` trains each method at each of its granularities on one workload, with
seeds that no board has, and writes the table between the markers of the page. ``python -m
tools.fidelity NAME ...`` prints the lines of these methods only. The exit status is 1 if a figure
is outside the range in which a method deserves its name.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from baselines.shared.quantity import Quantity
from pipelines.authoring.fidelity import Findings, fidelity
from pipelines.boards.params import Params, load_params
from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file
from pipelines.data import fetch
from pipelines.methods.catalogue import infos
from pipelines.metrics.numbers import MISSING, percent

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "baselines.md"
BEGIN, END = "<!-- fidelity: python -m tools.fidelity -->", "<!-- end of fidelity -->"
WORKLOAD, DENSITY, SEEDS = "digits-snn", 0.1, 2
#: Seeds of boards and of tuning are below.
FIRST_SEED = 1000
HEADER = (
    "method",
    "granularity",
    "defining quantity",
    "paper",
    "here",
    "score ~ loss",
    "pruned before the last cut %",
    "norm of the last cut %",
    "regrown %",
)
#: Granularities that the table has; time steps have no score that this measures.
GRANULARITIES = ("structured", "hybrid", "unstructured")


def places(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return method and granularity of each line: those of some methods, or of all (no names)."""
    known = infos()
    if unknown := sorted(set(names) - known.keys()):
        raise BenchError(f"there is no method {', '.join(unknown)}; see: dpap-bench list methods")
    return [
        (name, granularity)
        for name in names or sorted(known)
        for granularity in known[name].granularities
        if granularity in GRANULARITIES
    ]


def measure(params: Params, name: str, granularity: str, seeds: int, data: Path) -> Findings:
    """Measure one method at one granularity: means over the seeds."""
    found = [
        fidelity(params.spec(WORKLOAD, name, granularity, DENSITY, FIRST_SEED + seed), data)
        for seed in range(seeds)
    ]
    correlations = [one.correlation for one in found if one.correlation is not None]

    def mean(read: Callable[[Findings], float]) -> float:
        return fmean(read(one) for one in found)

    return Findings(
        tuple(
            replace(quantity, value=fmean(one.quantities[i].value for one in found))
            for i, quantity in enumerate(found[0].quantities)
        ),
        fmean(correlations) if correlations else None,
        early=mean(lambda one: one.early),
        removed=mean(lambda one: one.removed),
        regrown=mean(lambda one: one.regrown),
    )


def lines(name: str, granularity: str, found: Findings) -> list[str]:
    """Write the lines of one method: one for each figure of its own, one at least."""
    correlation = MISSING if found.correlation is None else f"{found.correlation:+.2f}"
    shares = [percent(share, 0) for share in (found.early, found.removed, found.regrown)]
    rest = [correlation, *shares]
    written = list[str]()
    for quantity in found.quantities or (_of_any_method(found),):
        verdict = "" if quantity.holds else " (**outside**)"
        own = [quantity.name.replace("|", "\\|"), quantity.paper]
        own.append(f"{quantity.value:.2f}{verdict}")
        first = [name, granularity] if not written else ["", ""]
        written.append("| " + " | ".join([*first, *own, *rest]) + " |")
        rest = [""] * len(rest)
    return written


def _of_any_method(found: Findings) -> Quantity:
    """Return the figure of a method that names none: of its score, or of its exchanges."""
    if found.correlation is None:
        return Quantity("share of the final weights that was regrown", found.regrown, "not given")
    return Quantity("correlation of the score with the loss", found.correlation, "not given")


def table(rows: Sequence[str]) -> str:
    """Write the whole table."""
    rule = ["---"] * 4 + ["---:"] * (len(HEADER) - 4)
    return "\n".join(["| " + " | ".join(cells) + " |" for cells in (HEADER, rule)] + [*rows])


def page(text: str, drawn: str) -> str:
    """Put a table between the markers of a page."""
    before, begin, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    if not begin or END not in rest:
        raise BenchError(f"the page has no markers; write {BEGIN} and {END} where the table goes.")
    return f"{before}{BEGIN}\n\n{drawn}\n\n{END}{after}"


def main(arguments: Sequence[str]) -> int:
    """Measure, print every line, and write the page if no method is named."""
    parser = argparse.ArgumentParser(prog="python -m tools.fidelity", description=__doc__)
    parser.add_argument("names", nargs="*", help="methods; none: all, and the page is written")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="folder of data sets")
    asked = parser.parse_args(arguments)
    chosen, params = places(asked.names), load_params(ROOT)
    fetch(params.workloads[WORKLOAD].data, asked.data)
    rows, wrong = list[str](), list[str]()
    for name, granularity in chosen:
        found = measure(params, name, granularity, asked.seeds, asked.data)
        rows += (new := lines(name, granularity, found))
        print("\n".join(new), flush=True)
        wrong += [f"{name}, {granularity}: {q.name}" for q in found.quantities if not q.holds]
    if not asked.names:
        with atomic_file(PAGE) as file:
            file.write(page(PAGE.read_text(), table(rows)).encode())
    for one in wrong:
        print(f"outside its range: {one}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
