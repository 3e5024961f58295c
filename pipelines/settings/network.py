"""Settings of a network: its layout, its neurons, and how it is computed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pipelines.common.errors import unknown
from pipelines.common.factory import check_name
from pipelines.settings.layout import parse_layout, with_widths
from pipelines.settings.limits import STEPS

_RESNET18 = (
    "[64C3-64C3]-[128C3s2-128C3]-[128C3-128C3]-[256C3s2-256C3]-[256C3-256C3]-"
    "[512C3s2-512C3]-[512C3-512C3]-GAP"
)
#: Layouts of the networks that papers name. The readout is left out, as in every layout.
#:
#: - 2Conv2FC and 6Conv2FC: DPAP (arXiv 2211.12714, Table I).
#: - VGG16: configuration D of Simonyan and Zisserman (arXiv 1409.1556) with batch norm, and one
#:   linear layer of 512 neurons, as usual for images of 32 x 32.
#: - ResNet18 and ResNet50: He et al. (arXiv 1512.03385, Table 1, shortcuts of option B), for images
#:   of 224 x 224. A ResNet50 block has its stride in the 3 x 3 convolution, as in torchvision.
#: - ResNet18-SNN: ResNet18 with a projection as first shortcut. An identity would carry a maximum
#:   of currents, which neither neuromorphic hardware nor NIR can compute.
#: - ResNet18-CIFAR: the usual variant for 32 x 32, with a 3 x 3 stem and no pooling after it.
NAMED = {
    "2Conv2FC": "15C3-AP2-40C3-AP2-300FC",
    "6Conv2FC": "128C3-128C3-MP2-256C3-256C3-MP2-512C3-512C3-512FC",
    "VGG16": "64C3-64C3-MP2-128C3-128C3-MP2-256C3-256C3-256C3-MP2-512C3-512C3-512C3-MP2-"
    "512C3-512C3-512C3-MP2-512FC",
    "ResNet18": f"64C7s2-MP3s2-[64C3-64C3]-{_RESNET18}",
    "ResNet18-SNN": f"64C7s2-MP3s2-[64C3-64C3]P-{_RESNET18}",
    "ResNet18-CIFAR": f"64C3-[64C3-64C3]-{_RESNET18}",
    "ResNet50": "64C7s2-MP3s2-"
    f"[64C1-64C3-256C1]P-{2 * '[64C1-64C3-256C1]-'}"
    f"[128C1-128C3s2-512C1]-{3 * '[128C1-128C3-512C1]-'}"
    f"[256C1-256C3s2-1024C1]-{5 * '[256C1-256C3-1024C1]-'}"
    f"[512C1-512C3s2-2048C1]-{2 * '[512C1-512C3-2048C1]-'}GAP",
}

#: Name of the linear layer that gives the class scores; every network ends with it.
READOUT = "readout"

#: The neuron model of ``kind: ann``; every other file of this folder is one of ``kind: snn``.
ARTIFICIAL = "relu"
_MODELS = Path(__file__).resolve().parents[1] / "networks" / "neurons"

Reset = Literal["zero", "subtract"]
Surrogate = Literal["atan", "fast_sigmoid"]
Norm = Literal["batch", "none"]

#: Fields of a network that a layout describes, and fields of one that a factory builds.
_OF_LAYOUTS = ("layout", "beta", "learn_beta", "threshold", "reset", "surrogate", "neuron", "norm")
_OF_FACTORIES = ("options", "takes", "readout", "ignore")


@cache
def spiking_neurons() -> tuple[str, ...]:
    """Names of the spiking neuron models: one file each in ``pipelines/networks/neurons``."""
    names = {file.stem for file in _MODELS.glob("*.py") if not file.stem.startswith("_")}
    return tuple(sorted(names - {ARTIFICIAL}))


class NetworkSpec(BaseModel):
    """A network, as written in params.yaml: a layout, or a factory of the user's own module.

    Parameters
    ----------
    factory
        ``package.module:function``; the function returns the network, a ``torch.nn.Module``. Empty:
        the network is that of `layout`, and the other fields describe its neurons.
    kind
        ``snn``: spiking neurons over `time_steps`; ``ann``: ReLU, one step. With a factory, the
        default is ``snn``.
    layout
        A layout in tokens, see `pipelines.settings.layout`; or a name in `NAMED`.
    time_steps
        Number of time steps T. A static input is shown T times (direct encoding).
    beta
        Initial decay of the membrane potential per step, in [0, 1].
    learn_beta
        Whether each layer learns its beta.
    threshold
        Firing threshold.
    reset
        ``zero`` (hard reset, as in DPAP's networks) or ``subtract`` (soft reset).
    surrogate
        Surrogate gradient, with the default slope of snnTorch.
    norm
        ``batch``: batch norm after every layer; ``none``: a bias in its place.
    options
        Arguments of the factory, by name.
    takes
        What the module of the factory is called with. ``batch``: the inputs of all time steps, as
        the data set has them, [B, C, H, W] or [T, B, C, H, W]. ``step``: those of one time step,
        [B, C, H, W]; it is called `time_steps` times.
    readout
        Path of the layer whose outputs are the classes. Empty: the layer that runs last.
    ignore
        Paths of layers in the factory's module that are not pruned.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    factory: str = ""
    kind: Literal["snn", "ann"]
    layout: str
    time_steps: int = Field(1, ge=1, le=STEPS)
    beta: float = Field(0.5, ge=0, le=1)
    learn_beta: bool = True
    threshold: float = Field(1.0, gt=0)
    reset: Reset = "zero"
    surrogate: Surrogate = "atan"
    neuron: str = "leaky"
    norm: Norm = "batch"
    options: dict[str, Any] = Field(default_factory=dict)
    takes: Literal["batch", "step"] = "batch"
    readout: str = ""
    ignore: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _defaults_of_a_factory(cls, fields: Any) -> Any:
        if isinstance(fields, dict) and fields.get("factory"):
            return {"kind": "snn", "layout": "", **fields}
        return fields

    @field_validator("factory")
    @classmethod
    def _named(cls, factory: str) -> str:
        return check_name(factory) if factory else factory

    @field_validator("layout")
    @classmethod
    def _expand_layout(cls, layout: str, info: ValidationInfo) -> str:
        if info.data.get("factory"):
            return layout
        layout = NAMED.get(layout, layout)
        parse_layout(layout)
        return layout

    @model_validator(mode="after")
    def _neuron(self) -> NetworkSpec:
        if self.neuron not in spiking_neurons():
            raise ValueError(str(unknown("neuron model", self.neuron, spiking_neurons())))
        if self.kind == "ann" and self.neuron != "leaky":
            raise ValueError("a network of kind 'ann' has ReLU; remove 'neuron', or ask for 'snn'")
        return self

    @model_validator(mode="after")
    def _one_description(self) -> NetworkSpec:
        fields = type(self).model_fields
        for name in _OF_LAYOUTS if self.factory else _OF_FACTORIES:
            default = (
                "" if name == "layout" else fields[name].get_default(call_default_factory=True)
            )
            if getattr(self, name) != default:
                raise ValueError(
                    f"a factory builds its own layers and neurons; remove '{name}', or give it to "
                    "the factory in 'options'"
                    if self.factory
                    else f"'{name}' belongs to a factory; remove it, or give 'factory'"
                )
        if self.factory and self.kind == "ann" and self.time_steps != 1:
            raise ValueError("an artificial network has one time step; remove 'time_steps'")
        return self

    def __hash__(self) -> int:
        """Hash the fields that tell most networks apart; the options are a dict."""
        return hash((self.factory, self.kind, self.layout, self.time_steps))

    @property
    def title(self) -> str:
        """The layout, or the name of the factory."""
        return self.factory or self.layout

    @property
    def neuron_model(self) -> str:
        """Name of the neuron model of every layer."""
        return self.neuron if self.kind == "snn" else ARTIFICIAL

    @property
    def steps(self) -> int:
        """Time steps of one sample, T."""
        return self.time_steps if self.kind == "snn" else 1

    def with_widths(self, widths: Sequence[int]) -> NetworkSpec:
        """Return the same network with other widths, one for each prunable layer."""
        return self.model_copy(update={"layout": with_widths(self.layout, widths)})


class Execution(BaseModel):
    """How a network is computed. `plan` and `live_shrink` change results by rounding only.

    Parameters
    ----------
    plan
        ``step``: snnTorch, one time step after another; the oracle. ``folded``: layer by layer,
        with time folded into the batch. ``fused``: as folded, with compiled kernels for batch
        norm, neurons, pooling and, on a CPU, convolutions. Without a C compiler, or on a GPU
        without Triton, it is computed as ``folded``. See `pipelines.networks.plans`.
    precision
        ``float32``; or ``bfloat16``: convolutions and linear layers in bfloat16, weights and state
        in float32.
    live_shrink
        Whether dead units are removed during training.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    plan: Literal["step", "folded", "fused"] = "folded"
    precision: Literal["float32", "bfloat16"] = "float32"
    live_shrink: bool = True
