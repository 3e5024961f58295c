"""What a plan is: one way to compute a network, with a name that records keep."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal, cast

from torch import Tensor, nn

from baselines.shared.activity import Recorded
from pipelines.networks.neurons import make_neuron_model
from pipelines.networks.stages import Stage
from pipelines.settings.network import NetworkSpec

#: Names of plans in settings and records.
Name = Literal["step", "folded", "fused"]


class Plan(ABC):
    """One way to compute a network.

    Parameters
    ----------
    spec
        Of the network; a plan reads the neurons and the number of time steps from it.
    """

    #: As the record of a run keeps it.
    name: ClassVar[Name]
    #: Whether its passes can be recorded as CUDA graphs and replayed.
    replayable: ClassVar[bool] = True

    def __init__(self, spec: NetworkSpec) -> None:
        self.spec = spec
        self.neurons = make_neuron_model(spec)

    @abstractmethod
    def run(
        self, stages: Sequence[Stage], x: Tensor, gates: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Recorded]]:
        """Compute all layers before the readout.

        Parameters
        ----------
        stages
            The layers.
        x
            Input [T, B, C, H, W], or [1, B, C, H, W] if it is the same at every time step.
        gates
            Layer -> time steps at which others receive the spikes of a unit, bool [units, T]; a
            layer that is not in it is always heard.

        Returns
        -------
        tuple of Tensor and dict
            Input of the readout, [T, B, features], and of each layer its input and its output,
            [T, B, ...].
        """

    def pool(self, pool: nn.Module, y: Tensor) -> Tensor:
        """Apply a layer's pooling to maps [T, B, C, H, W]; without pooling, to any tensor."""
        return y if isinstance(pool, nn.Identity) else over_time(pool, y)


def over_time(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a function of [N, ...] to all time steps of [T, B, ...] at once."""
    return cast(Tensor, function(x.flatten(0, 1)).unflatten(0, x.shape[:2]))
