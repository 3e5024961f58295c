"""Live shrink: once units are dead, training goes on in a smaller network.

The method knows nothing of it. Its structure, masks, weights and activity are those of the dense
network, in which removed units are there, zero and silent; this module translates. So every
method that removes units gains from it, and the result is that of the masked run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from baselines.shared.activity import Activity, Places, Recorded
from baselines.shared.groups import PrunableLayer, Structure
from baselines.shared.masks import Masks
from pipelines.networks.network import Network

#: A shrink must leave at most this share of the prunable weights that are trained now,
WORTH = 0.9
#: comes at most this often, as part of the budget,
INTERVAL = 0.02
#: and leaves each layer a multiple of this many units: other widths are slow to convolve.
MULTIPLE = 8


@dataclass(frozen=True)
class Extent:
    """The part of a dense network that a smaller one consists of.

    Parameters
    ----------
    structure
        Of the dense network.
    units
        Group -> units that are there, bool [units].
    device
        Where the networks are; `units` and masks stay on the CPU.
    """

    structure: Structure
    units: Mapping[str, Tensor]
    device: torch.device | str = "cpu"
    _places: dict[tuple[str, int], Tensor] = field(init=False)

    def __post_init__(self) -> None:
        whole = all(bool(there.all()) for there in self.units.values())
        axes = {} if whole else self.structure.axes(self.units)
        places = {key: there.nonzero().flatten().to(self.device) for key, there in axes.items()}
        object.__setattr__(self, "_places", places)

    @property
    def weights(self) -> int:
        """Prunable weights that are there."""
        return sum(self.structure.count(self.units).values())

    @property
    def widths(self) -> list[int]:
        """Units of each layer with neurons that are there."""
        rows = ((self._of(x.weight, 0), x.shape[0]) for x in self._firing)
        return [units if index is None else len(index) for index, units in rows]

    @property
    def shares(self) -> dict[str, float]:
        """Layer with neurons -> part of its units that is there."""
        return {x.name: n / x.shape[0] for n, x in zip(self.widths, self._firing, strict=True)}

    @property
    def _firing(self) -> list[PrunableLayer]:
        return [layer for layer in self.structure.layers if layer.drives is None]

    def cut(self, name: str, dense: Tensor, dims: tuple[int, ...] = (0, 1)) -> Tensor:
        """Take the part of a dense parameter, buffer or mask that is there."""
        for dim in dims:
            if (index := self._of(name, dim)) is not None:
                dense = dense.index_select(dim, index.to(dense.device))
        return dense

    def spread(self, name: str, small: Tensor, dense: Tensor) -> Tensor:
        """Write what is there into a dense tensor; the rest becomes zero."""
        rows, columns = self._of(name, 0), self._of(name, 1)
        if rows is None and columns is None:
            return dense.copy_(small)
        if columns is not None:  # scatter_ is quicker than index_copy_ along a later dimension
            index = columns.view(1, -1, *[1] * (small.dim() - 2)).expand_as(small)
            wide = small.new_zeros(small.shape[0], *dense.shape[1:])
            small = wide.scatter_(1, index, small)
        if rows is None:
            return dense.copy_(small)
        return dense.zero_().index_copy_(0, rows, small)

    def places(self, layer: str) -> tuple[Places | None, Places | None]:
        """Where the inputs and the outputs of a layer are in the dense network."""
        name = f"{layer}.weight"
        shape = self.structure.shapes[name]
        rows, columns = self._of(name, 0), self._of(name, 1)
        return (
            None if columns is None else (columns, shape[1]),
            None if rows is None else (rows, shape[0]),
        )

    def _of(self, name: str, dim: int) -> Tensor | None:
        module, _, what = name.rpartition(".")
        if what in ("running_mean", "running_var"):
            name = f"{module}.weight"
        return self._places.get((name, dim))


class LiveNetwork:
    """A network in training, its optimizer, and the dense network that the method sees.

    Parameters
    ----------
    network
        The dense network; `sync` brings it up to date.
    structure
        What can be pruned in it.
    make_optimizer
        Builds the optimizer of a network.
    enabled
        Whether dead units are removed.
    """

    def __init__(
        self,
        network: Network,
        structure: Structure,
        make_optimizer: Callable[[Network], torch.optim.Optimizer],
        *,
        enabled: bool,
    ) -> None:
        self.full = self.network = network
        self.structure = structure
        self.make_optimizer = make_optimizer
        self.optimizer = make_optimizer(network)
        self.enabled = enabled
        self.masks = self._masks_here = Masks()
        self.shrunk_at: list[float] = []
        whole = {g.name: torch.ones(g.size, dtype=torch.bool) for g in structure.groups}
        self.device = network.readout.weight.device
        self.extent = Extent(structure, whole, self.device)

    def state_dict(self) -> dict[str, Any]:
        """Return the networks, the optimizer's state, the masks, and which units are there."""
        small = None if self.network is self.full else self.network.state_dict()
        states = self.optimizer.state
        return {
            # a copy: memory of the dense network is not stored with the state of a method
            "full": {name: value.clone() for name, value in self.full.state_dict().items()},
            "small": small and dict(small),
            "units": dict(self.extent.units),
            "masks": self.masks,
            "shrunk_at": self.shrunk_at,
            "optimizer": {
                name: dict(states[parameter])
                for name, parameter in self.network.named_parameters()
                if parameter in states
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned; the networks must be new."""
        self.full.load_state_dict(state["full"])
        if state["small"] is not None:
            self.extent = Extent(self.structure, state["units"], self.device)
            self.network = self.full.narrowed(self.extent.widths)
            self.network.load_state_dict(state["small"])
            self.optimizer = self.make_optimizer(self.network)
        self.masks, self.shrunk_at = state["masks"], state["shrunk_at"]
        self.full.silence(self.masks.steps)
        self._cut_masks()
        for name, parameter in self.network.named_parameters():
            if name in state["optimizer"]:
                self.optimizer.state[parameter] = state["optimizer"][name]

    def activity(self, pairs: Mapping[str, Recorded]) -> Activity:
        """Activity of the trained network, as the method sees it."""
        return Activity(pairs, {name: self.extent.places(name) for name in pairs})

    def backward(self, loss: Tensor, penalty: Tensor | None) -> None:
        """Set the gradients of the trained network; the penalty is one on dense weights."""
        self.optimizer.zero_grad(set_to_none=True)
        if penalty is None or self.network is self.full:
            (loss if penalty is None else loss + penalty).backward()
            return
        self.full.zero_grad(set_to_none=True)
        loss.backward()
        penalty.backward()
        dense = dict(self.full.named_parameters())
        for name, parameter in self.network.named_parameters():
            gradient = dense[name].grad
            if gradient is not None:
                part = self.extent.cut(name, gradient)
                parameter.grad = part if parameter.grad is None else parameter.grad + part

    @torch.no_grad()
    def spread_gradients(self) -> None:
        """Bring the gradients of the dense network up to date."""
        if self.network is not self.full:
            dense = dict(self.full.named_parameters())
            for name, parameter in self.network.named_parameters():
                whole, part = torch.empty_like(dense[name]), parameter.grad
                dense[name].grad = None if part is None else self.extent.spread(name, part, whole)

    def prune(self, masks: Masks | None, progress: float) -> None:
        """Take new masks, if there are any, enforce them, and remove units where it is worth it.

        Raises
        ------
        ValueError
            If units are kept that have been removed.
        """
        if masks is not None:
            for name, kept in masks.units.items():
                if bool((kept & ~self.extent.units[name]).any()):
                    raise ValueError(
                        f"units of '{name}' came back after they had been removed; a method "
                        "that revives units says so: info.regrows"
                    )
            self.masks = masks
            self.full.silence(masks.steps)
            self._cut_masks()
        self._masks_here.project(self.network, self.optimizer)
        waited = not self.shrunk_at or progress - self.shrunk_at[-1] >= INTERVAL
        if self.enabled and masks is not None and waited:
            self._shrink(progress)

    @torch.no_grad()
    def sync(self) -> None:
        """Bring the dense network up to date."""
        if self.network is not self.full:
            dense = self.full.state_dict()
            for name, value in self.network.state_dict().items():
                self.extent.spread(name, value, dense[name])

    @torch.no_grad()
    def load(self) -> None:
        """Take over what was written into the dense network."""
        if self.network is not self.full:
            dense = self.full.state_dict().items()
            self.network.load_state_dict({n: self.extent.cut(n, value) for n, value in dense})

    @torch.no_grad()
    def _shrink(self, progress: float) -> None:
        """Go on in a smaller network, if enough units are dead."""
        units = {n: _rounded(self.masks.units.get(n, u), u) for n, u in self.extent.units.items()}
        smaller = Extent(self.structure, units, self.device)
        if smaller.weights > WORTH * self.extent.weights:
            return
        self.sync()
        dense = {name: p.detach() for name, p in self.full.named_parameters()}
        states = {
            name: {
                key: self.extent.spread(name, value, torch.empty_like(dense[name]))
                if value.dim() > 0 and value.shape == parameter.shape
                else value
                for key, value in self.optimizer.state[parameter].items()
            }
            for name, parameter in self.network.named_parameters()
        }
        self.extent = smaller
        self.network = self.full.narrowed(smaller.widths)
        self.load()
        self.network.train()
        self.optimizer = self.make_optimizer(self.network)
        for name, parameter in self.network.named_parameters():
            for key, value in states[name].items():
                sized = value.dim() > 0 and value.shape == dense[name].shape  # no step count
                self.optimizer.state[parameter][key] = (
                    torch.empty_like(parameter).copy_(smaller.cut(name, value)) if sized else value
                )
        self._cut_masks()
        self.shrunk_at.append(progress)

    def _cut_masks(self) -> None:
        """Translate the masks to the trained network."""
        masks, cut = self.masks, self.extent.cut
        parameters = {name: cut(name, mask) for name, mask in masks.parameters.items()}
        self._masks_here = Masks(parameters=parameters).to(self.device)
        if self.network is not self.full:
            gates = {name: cut(f"{name}.weight", kept, (0,)) for name, kept in masks.steps.items()}
            self.network.silence(gates)


def _rounded(alive: Tensor, there: Tensor) -> Tensor:
    """Alive units, and as many dead ones that are still there as make a multiple."""
    missing = -int(alive.sum()) % MULTIPLE
    kept = alive.clone()
    kept[(there & ~alive).nonzero().flatten()[:missing]] = True
    return kept
