"""Neuron models: a file that is added to the folder works at once, in every plan."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines.networks.neurons import Neuron, make_neuron_model
from pipelines.settings.network import NetworkSpec, spiking_neurons
from tests.helpers.paths import ROOT

#: A perfect integrator, `snntorch.Leaky` without a leak.
INTEGRATOR = """
import snntorch as snn
import torch

from pipelines.kernels.scan import spike_gradient
from pipelines.networks.neurons import Neuron


class Integrator(Neuron):
    def build(self):
        spec = self.spec
        gradient = spike_gradient(spec.surrogate)
        return snn.Leaky(1.0, spec.threshold, gradient, reset_mechanism=spec.reset)

    def step(self, module, current, state):
        (membrane,) = state or (torch.zeros_like(current),)
        spikes, membrane = module(current, membrane)
        module.mem = torch.zeros(0)
        return spikes, (membrane,)
"""
#: Compares scores and gradients of all plans, and the scores of a loop over snnTorch.
USE = """
import snntorch as snn
import torch

from pipelines.networks.initial import build_network
from pipelines.settings.network import Execution, NetworkSpec, spiking_neurons

assert spiking_neurons() == ("integrator", "leaky", "synaptic"), spiking_neurons()
torch.Tensor.float = torch.Tensor.double  # snnTorch converts its spikes by .float()
spec = NetworkSpec(kind="snn", neuron="integrator", layout="4C3-MP2-7FC", time_steps=3)
nets = [
    build_network(spec, (1, 8, 8), 5, 0, Execution(plan=plan)).double()
    for plan in ("step", "folded", "fused")
]
torch.manual_seed(0)
for _ in range(30):
    nets[1](2 * torch.randn(16, 1, 8, 8, dtype=torch.float64))
x, found = torch.randn(6, 1, 8, 8, dtype=torch.float64), []
for net in nets:
    net.load_state_dict(nets[1].state_dict())
    scores, activity = net.eval().run(x)
    assert 0 < activity["fc1"][1].mean() < 1
    scores.square().sum().backward()
    found.append([scores, *(p.grad for p in net.parameters())])
for other in found[1:]:
    torch.testing.assert_close(other, found[0], rtol=1e-10, atol=1e-10)

net, total = nets[0], 0.0
one, two = (snn.Leaky(1.0, reset_mechanism="zero").double() for _ in range(2))
first = second = None
for _ in range(3):
    spikes, first = one(net.conv1_norm(net.conv1(x)), first)
    rows = net.conv1_pool(spikes).flatten(1)
    spikes, second = two(net.fc1_norm(net.fc1(rows)), second)
    total = total + net.readout(spikes) / 3
torch.testing.assert_close(total, found[0][0], rtol=1e-10, atol=1e-10)
print("computed")
"""


@pytest.mark.slow
def test_a_new_file_works_in_every_plan(tmp_path: Path) -> None:
    """The file is the only change, in a copy of the packages."""
    for package in ("baselines", "pipelines"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, tmp_path / package, ignore=ignore)
    (tmp_path / "pipelines" / "networks" / "neurons" / "integrator.py").write_text(INTEGRATOR)
    done = subprocess.run(
        [sys.executable, "-c", USE],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "computed\n", done.stderr


@pytest.mark.parametrize("name", [*spiking_neurons(), "relu"])
def test_a_file_defines_the_model_of_its_name(name: str) -> None:
    kind = {"kind": "ann"} if name == "relu" else {"kind": "snn", "neuron": name}
    model = make_neuron_model(NetworkSpec(layout="4C3", **kind))  # type: ignore[arg-type]
    assert type(model).__name__.lower() == name
    assert type(model).__mro__[1] is Neuron


def test_the_default_leaves_run_ids_as_they_were() -> None:
    """The default is left out of the canonical form, so it cannot change run ids."""
    spec = NetworkSpec(kind="snn", layout="4C3", neuron="leaky")
    assert spec.model_dump(exclude_defaults=True) == {"kind": "snn", "layout": "4C3"}
    other = NetworkSpec(kind="snn", layout="4C3", neuron="synaptic")
    assert other.model_dump(exclude_defaults=True)["neuron"] == "synaptic"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"kind": "snn", "neuron": "leeky"}, "unknown neuron model 'leeky'; did you mean 'leaky'?"),
        ({"kind": "snn", "neuron": "relu"}, "unknown neuron model 'relu'; known: leaky, synaptic."),
        (
            {"kind": "ann", "neuron": "synaptic"},
            "a network of kind 'ann' has ReLU; remove 'neuron'",
        ),
    ],
)
def test_a_wrong_neuron_model_is_refused(fields: dict[str, str], reason: str) -> None:
    with pytest.raises(ValidationError) as refused:
        NetworkSpec(layout="4C3", **fields)  # type: ignore[arg-type]
    assert reason in str(refused.value)


def test_names_are_checked_without_torch() -> None:
    code = (
        "import sys; from pipelines.settings.network import NetworkSpec; "
        "NetworkSpec(kind='snn', layout='4C3', neuron='synaptic'); print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "False\n"
