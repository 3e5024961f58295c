"""The check: a method that breaks a rule is told which one, and what to do."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from baselines.dense import Dense
from baselines.magnitude import Magnitude
from baselines.shared.contract import PruneContext
from baselines.shared.masks import Masks
from pipelines.authoring import class_rules
from pipelines.authoring.check import faults, find
from pipelines.authoring.mask_rules import ContractError
from pipelines.common.errors import InputError
from pipelines.data import load_training
from pipelines.data.splits import TrainingData
from pipelines.methods.registry import methods
from tests.pipelines.cli.test_main import call

OPTIONS = {"start": 0.1, "stop": 0.6, "updates": 20, "scope": "global", "p": 2}


@pytest.fixture(scope="module")
def data(data_root: Path) -> TrainingData:
    return load_training("digits", data_root)


class Bad(Magnitude):
    """Magnitude pruning that breaks a rule."""

    info = replace(Magnitude.info, name="bad", granularities=("structured",), needs_spikes=True)

    def changed(self, masks: Masks) -> Any:
        return masks

    def masks(self, progress: float) -> Any:
        masks = super().masks(progress)
        return None if masks is None else self.changed(masks)


def with_mask_of(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[Bad, Masks], Masks]:
    def changed(self: Bad, masks: Masks) -> Masks:
        ones = torch.ones_like(self.network.get_parameter(name), dtype=torch.bool)
        kept = change(masks.parameters.get(name, ones).clone())
        return replace(masks, parameters={**masks.parameters, name: kept})

    return changed


def without_class(kept: Tensor) -> Tensor:
    kept[3] = False
    return kept


def without_units(_: Bad, masks: Masks) -> Masks:
    return replace(masks, units={n: torch.zeros_like(kept) for n, kept in masks.units.items()})


def in_begin(act: Callable[[Bad], object]) -> Callable[[Bad, nn.Module, PruneContext], None]:
    def begin(self: Bad, network: nn.Module, context: PruneContext) -> None:
        super(Bad, self).begin(network, context)
        act(self)

    return begin


def change_a_weight(self: Bad) -> None:
    nn.init.zeros_(self.network.get_parameter("fc1.weight"))


def overspend(self: Bad) -> None:
    self.probe.batches(10**6)


def pass_without_probe(self: Bad) -> dict[str, Tensor]:
    self.network.eval()(torch.zeros(7, *self.probe.example().shape[1:]))
    return Magnitude.unit_scores(self)


def raise_key_error(self: Bad) -> None:
    self.layer_weights()["conv9"]


def random_scores(self: Bad) -> dict[str, Tensor]:
    return {name: torch.rand(len(kept)) for name, kept in self.alive.items()}


def draw_and_ignore(self: Bad) -> dict[str, Tensor]:
    torch.rand(1)
    return Magnitude.unit_scores(self)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"changed": lambda self, masks: dict(masks.units)}, "masks() returns dict: return None,"),
        (
            {"changed": with_mask_of("fc1.weight", lambda kept: kept[:, 1:])},
            "mask of 'fc1.weight' has shape (12, 31) instead of (12, 32).",
        ),
        (
            {"changed": with_mask_of("fc1.weight", Tensor.float)},
            "the mask of 'fc1.weight' is torch.float32: use torch.bool",
        ),
        (
            {"changed": lambda self, masks: Masks({"fc7.weight": torch.ones(1).bool()})},
            "the mask of 'fc7.weight' has no counterpart in the network",
        ),
        (
            {"changed": with_mask_of("readout.weight", without_class)},
            "'readout.weight' is pruned: only the readout's inputs",
        ),
        (
            {"changed": with_mask_of("readout.bias", torch.zeros_like)},
            "'readout.bias' is pruned: only the readout's inputs",
        ),
        (
            {"changed": with_mask_of("readout.weight", torch.zeros_like)},
            "a class has no input left",
        ),
        (
            {"changed": lambda self, masks: replace(masks, units={})},
            "the field units of the masks has no group; this",
        ),
        ({"changed": without_units}, "no unit of 'conv1' is kept"),
        (
            {"changed": lambda self, masks: replace(masks, steps={"fc1": torch.ones(12).bool()})},
            "the time-step mask of 'fc1' has shape (12,) instead of",
        ),
        (
            {"due": lambda self, progress: False},
            "density is 0.4, and the method ends at 1.000: its",
        ),
        (
            {"unit_scores": random_scores},
            "the global generator of torch: pass generator=",
        ),
        ({"unit_scores": draw_and_ignore}, "draws from the global generator of torch"),
        (
            {"begin": in_begin(change_a_weight)},
            "begin() changes 'fc1.weight': change the",
        ),
        (
            {"begin": in_begin(overspend)},
            "phase 'saliency' asks for 1000000 samples",
        ),
        (
            {"unit_scores": pass_without_probe},
            "samples through self.network, which are not",
        ),
        ({"begin": in_begin(raise_key_error)}, "the method raises KeyError at test_check.py:"),
        (
            {"info": replace(Bad.info, emergent=True), "emerge": True},
            "the method raises AssertionError at",
        ),
        ({"info": replace(Bad.info, summary="Bad")}, "info.summary is not a sentence"),
        ({"info": replace(Bad.info, paper="")}, "info.paper is empty"),
        ({"info": replace(Bad.info, granularities=())}, "info.granularities is empty"),
        ({"__doc__": None}, "class Bad has no docstring: say what the method computes."),
        ({"__annotations__": {"share": "float"}, "share": 0.5}, "@dataclass above the class"),
    ],
)
def test_a_broken_rule_is_named(data: TrainingData, changes: dict[str, Any], sentence: str) -> None:
    bad = type("Bad", (Bad,), {"__doc__": "Breaks a rule.", "__module__": __name__} | changes)
    told = [text for _, text in faults(bad, OPTIONS, data) if "methods.yaml" not in text]
    assert told
    assert all(sentence in text for text in told), told


def test_faults_name_their_case(data: TrainingData) -> None:
    where = [place for place, _ in faults(type("Bad", (Bad,), {"due": lambda *_: False}), {}, data)]
    assert where == ["", "", "structured on snn", "structured on residual snn"]


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The file of a method named wrong, in a folder that is searched with baselines/."""
    monkeypatch.setattr("baselines.__path__", [str(tmp_path)])
    monkeypatch.setattr("pipelines.methods.registry.methods", methods.__wrapped__)
    monkeypatch.setattr("pipelines.authoring.check.methods", methods.__wrapped__)
    yield tmp_path / "wrong.py"
    sys.modules.pop("baselines.wrong", None)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("x = 1\nclass Wrong(\n", r"SyntaxError at wrong.py:2: .*; correct this line\."),
        ("\nimport nothing_of_this_name", r"ModuleNotFoundError at wrong.py:2: No module named"),
        ("x = 1", r"wrong.py contains no method 'wrong': it needs a subclass of Pruner with"),
    ],
)
def test_files_without_a_method_are_refused(wrong: Path, source: str, sentence: str) -> None:
    wrong.write_text(source)
    with pytest.raises(ContractError, match=sentence):
        find(["wrong"])


def test_methods_are_found_by_name() -> None:
    with pytest.raises(InputError, match="did you mean 'magnitude'"):
        find(["magnitud"])
    assert find(["dense"]) == {"dense": Dense}
    assert find([]) == methods()


def test_check_command(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "check", "dense") == 0
    assert capsys.readouterr().out == "ok     dense (none)\n"
    params = project / "methods.yaml"
    params.write_text(re.sub(r"\bp: ", "q: ", params.read_text(), count=1))
    assert call(monkeypatch, "check", "dense", "magnitude") == 1
    captured = capsys.readouterr()
    fault = "fault  magnitude: hyper-parameter 'p' is not in methods.yaml: write it under"
    assert captured.out.splitlines()[1].startswith(fault)
    assert "1 of 2 methods break the contract (see above)" in captured.err
    for arguments in ([], ["dense", "--all"]):
        assert call(monkeypatch, "check", *arguments) == 2


def test_a_long_file_passes_with_advice(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(class_rules, "LINES", 1)
    assert call(monkeypatch, "check", "dense") == 0
    advice, passed = capsys.readouterr().out.splitlines()
    assert advice.startswith("advice dense: dense.py has ")
    assert passed == "ok     dense (none)"
