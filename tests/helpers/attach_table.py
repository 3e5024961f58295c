"""What becomes of each small network when a method is attached to it.

``python -m tests.helpers.attach_table`` writes the table of docs/attach.md.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from baselines.shared.activity import Activity
from dpap import DPAP, attach
from dpap.attachment import Attachment
from dpap.attachment.copies import at_rest
from tests.helpers.architectures import Case, Multistep, Recurrent, Timed, usual
from tests.helpers.foreign_networks import foreign
from tests.helpers.users_code import users_code

CASES = {case.name: case for case in [*usual(), *foreign(), *users_code()]}
#: A quarter of the supported networks, and all that are refused.
FAST = {name for i, (name, case) in enumerate(CASES.items()) if case.refused or i % 4 == 0}


def scores_of(network: nn.Module, x: Tensor, steps: int) -> Tensor:
    """Class scores after all steps, from rest."""
    at_rest(network)
    return torch.stack([_first(network(x)).float() for _ in range(steps)]).sum(0)


def _first(output: Any) -> Tensor:
    while not isinstance(output, Tensor):
        output = next(iter(output.values() if isinstance(output, dict) else output))
    return output


class Watcher:
    """Checks that each layer's recorded activity is that of its own units.

    A unit that is masked emits a constant, and of the others at least one does not.
    """

    def __init__(self, handle: Attachment) -> None:
        self.handle, self.observe = handle, handle.pruner.observe
        self.wrong: list[str] = []
        self.seen = 0

    def __call__(self, activity: Activity) -> None:
        self.observe(activity)
        for group in self.handle.structure.groups:
            kept = self.handle.masks.units.get(group.name)
            if kept is None or bool(kept.all()):
                continue
            for name in group.producers:
                alive = group.of_outputs(name, kept.float()) > 0
                varies = activity[name][1].std(1).amax(0) > 1e-5
                self.seen += 1
                if bool(varies[~alive].any()) or not bool(varies[alive].any()):
                    self.wrong.append(name)


def outcome(case: Case) -> str:
    """Attach DPAP, train four batches, compact; return ``supported`` or ``refused: ...``.

    Raises
    ------
    AssertionError
        If the network is accepted, and the density, the activity or the outputs are wrong.
    """
    torch.manual_seed(0)
    network = case.build()
    options = {"readout": case.readout} | case.options
    if isinstance(network, Timed | Recurrent | Multistep):
        options.setdefault("steps", case.options.get("steps"))
    pruner = DPAP(updates=4, stop=1.0, first_update=0)
    try:
        handle = attach(network, pruner, example=case.draw(2), density=0.4, **options)
    except ValueError as error:
        return f"refused: {error}"
    steps = 1 if isinstance(network, Timed | Recurrent | Multistep) else case.steps
    watcher = Watcher(handle)
    handle.pruner.observe = watcher  # type: ignore[method-assign]
    optimizer = torch.optim.Adam(network.parameters(), 5e-3, eps=1e-4)
    for i in range(4):
        optimizer.zero_grad()
        scores = scores_of(network, case.draw(8), steps)
        functional.cross_entropy(scores, torch.randint(5, (8,))).backward()
        optimizer.step()
        handle.update((i + 1) / 4, optimizer)
    network.eval()
    x = case.draw(8)
    with torch.no_grad():
        masked = scores_of(network, x, steps)
        handle.compact()
        found = scores_of(network, x, steps)
    assert handle.density < 0.75
    assert masked.std(0).any(), "the test needs outputs that depend on the input"
    exact = torch.finfo(case.dtype).bits >= 32
    assert float((found - masked).abs().max()) < (1e-3 if exact else 0.1) * float(masked.std())
    assert watcher.seen
    assert case.shifted or not watcher.wrong, f"activity of others: {watcher.wrong}"
    for layer in handle.structure.layers:
        weight = network.get_parameter(layer.weight).detach().transpose(0, int(layer.transposed))
        assert weight.flatten(1).any(1).all(), f"{layer.name} keeps dead units"
    return "supported"


PAGE = Path(__file__).parents[2] / "docs" / "attach.md"
BEGIN, END = "<!-- table: python -m tests.helpers.attach_table -->", "<!-- end of table -->"


def row(case: Case, found: str) -> str:
    """The row of a case in the table, from its `outcome`."""
    verdict, _, reason = found.partition(": ")
    reason = re.sub(r" \(\w*Error: .*?\)(?=: )", "", reason)  # its sizes depend on random draws
    return f"| {case.name} | {verdict} | {reason.replace('|', '/').strip()} |"


def main() -> None:
    """Write the table of the page."""
    rows = []
    for case in CASES.values():
        found = outcome(case)
        if found.startswith("refused") != bool(case.refused) or case.refused not in found:
            print(f"not as expected: {case.name}: {found}")
        rows.append(row(case, found))
    head = ["| network | verdict | what `attach` says |", "| --- | --- | --- |"]
    text = PAGE.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    table = "\n".join([*head, *rows])
    PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}")


if __name__ == "__main__":
    main()
