"""A method that breaks a rule is told which, and what to do."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from baselines.dense import Dense
from baselines.magnitude import Magnitude
from baselines.shared.contract import PruneContext, Pruner, PrunerInfo
from baselines.shared.masks import Masks
from pipelines.authoring import class_rules, run_rules
from pipelines.authoring.check import faults, find, perform
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


def with_parameter(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[Bad, Masks], Masks]:
    def changed(self: Bad, masks: Masks) -> Masks:
        ones = torch.ones_like(self.network.get_parameter(name), dtype=torch.bool)
        kept = change(masks.parameters.get(name, ones).clone())
        return replace(masks, parameters={**masks.parameters, name: kept})

    return changed


def without_class(kept: Tensor) -> Tensor:
    kept[3] = False
    return kept


def no_unit(_: Bad, masks: Masks) -> Masks:
    return replace(masks, units={n: torch.zeros_like(kept) for n, kept in masks.units.items()})


def in_begin(act: Callable[[Bad], object]) -> Callable[[Bad, nn.Module, PruneContext], None]:
    def begin(self: Bad, network: nn.Module, context: PruneContext) -> None:
        super(Bad, self).begin(network, context)
        act(self)

    return begin


def write(self: Bad) -> None:
    nn.init.zeros_(self.network.get_parameter("fc1.weight"))


def spend(self: Bad) -> None:
    self.probe.batches(10**6)


def pass_by_itself(self: Bad) -> dict[str, Tensor]:
    self.network.eval()(torch.zeros(7, *self.probe.example().shape[1:]))
    return Magnitude.unit_scores(self)


def stop(self: Bad) -> None:
    self.layer_weights()["conv9"]


def draw(self: Bad) -> dict[str, Tensor]:
    return {name: torch.rand(len(kept)) for name, kept in self.alive.items()}


def constant(self: Bad) -> dict[str, Tensor]:
    torch.rand(1)
    return Magnitude.unit_scores(self)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"changed": lambda self, masks: dict(masks.units)}, "masks() returns dict: return None,"),
        (
            {"changed": with_parameter("fc1.weight", lambda kept: kept[:, 1:])},
            "mask of 'fc1.weight' has shape (12, 31) instead of (12, 32).",
        ),
        (
            {"changed": with_parameter("fc1.weight", Tensor.float)},
            "mask of 'fc1.weight' is torch.float32: masks are torch.bool",
        ),
        (
            {"changed": lambda self, masks: Masks({"fc7.weight": torch.ones(1).bool()})},
            "mask of 'fc7.weight': the network has nothing of this name",
        ),
        (
            {"changed": with_parameter("readout.weight", without_class)},
            "'readout.weight' is pruned: the readout stays whole",
        ),
        (
            {"changed": with_parameter("readout.bias", torch.zeros_like)},
            "'readout.bias' is pruned: the readout stays whole",
        ),
        (
            {"changed": with_parameter("readout.weight", torch.zeros_like)},
            "a class has no input left",
        ),
        ({"changed": lambda self, masks: replace(masks, units={})}, "units of the masks name noth"),
        ({"changed": no_unit}, "no unit of 'conv1' is left"),
        (
            {"changed": lambda self, masks: replace(masks, steps={"fc1": torch.ones(12).bool()})},
            "steps of 'fc1' has shape (12,) instead of (12, 4).",
        ),
        ({"due": lambda self, progress: False}, "for density 0.4 and ends at 1.000: its last mas"),
        ({"unit_scores": draw}, "draws from the global generator of torch: pass generator=self."),
        ({"unit_scores": constant}, "draws from the global generator of torch"),
        ({"begin": in_begin(write)}, "begin() changes 'fc1.weight': write into the network in mas"),
        ({"begin": in_begin(spend)}, "phase 'saliency' asks for 1000000 samples, 2334 of 2334 re"),
        ({"unit_scores": pass_by_itself}, " samples through self.network, which the budget does n"),
        ({"begin": in_begin(stop)}, "it stops: KeyError at test_check.py:"),
        ({"info": replace(Bad.info, emergent=True), "emerge": True}, "it stops: AssertionError at"),
        ({"info": replace(Bad.info, summary="Bad")}, "info.summary is no sentence"),
        ({"info": replace(Bad.info, paper="")}, "info.paper is empty"),
        ({"info": replace(Bad.info, granularities=())}, "info.granularities is empty"),
        ({"__doc__": None}, "class Bad has no docstring: say what it computes."),
        ({"__annotations__": {"share": "float"}, "share": 0.5}, "@dataclass above it"),
    ],
)
def test_a_broken_rule_is_told(data: TrainingData, changes: dict[str, Any], sentence: str) -> None:
    bad = type("Bad", (Bad,), {"__doc__": "Breaks a rule.", "__module__": __name__} | changes)
    told = [text for _, text in faults(bad, OPTIONS, data) if not text.startswith("params.yaml")]
    assert told
    assert all(sentence in text for text in told)


def test_what_is_in_the_way_is_named_with_its_place(data: TrainingData) -> None:
    where = [place for place, _ in faults(type("Bad", (Bad,), {"due": lambda *_: False}), {}, data)]
    assert where == ["", "", "structured on snn", "structured on residual snn"]


@dataclass
class Unexplained(Magnitude):
    """Says nothing of its hyper-parameter."""

    info: ClassVar[PrunerInfo] = replace(Magnitude.info, name="unexplained")
    share: float = 0.5


def test_hyper_parameters_are_explained_and_written_out() -> None:
    with pytest.raises(ContractError, match="'share' is not explained: add it, with its range"):
        class_rules.is_documented(Unexplained)
    with pytest.raises(ContractError, match=r"params\.yaml does not know it: write 'unexplained:'"):
        class_rules.is_written_out(Unexplained, None)
    with pytest.raises(ContractError, match=r"'share' is not in params\.yaml: write it there"):
        class_rules.is_written_out(Unexplained, OPTIONS)
    with pytest.raises(ContractError, match="does not fit: method 'magnitude': need 0 <= start"):
        class_rules.is_written_out(Magnitude, OPTIONS | {"start": 0.9})


def test_a_method_is_a_dataclass(data: TrainingData) -> None:
    class Plain(Pruner):
        """No dataclass."""

        info = PrunerInfo("plain", "Does nothing.", "none", ("none",))

        def masks(self, progress: float) -> Masks | None:
            return None

    told = "the hyper-parameters of Plain cannot be set: write @dataclass above it."
    assert next(faults(Plain, {}, data)) == ("", told)


def test_rules_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Baseline(Magnitude):
        __module__ = "baselines.wrong"

    file = tmp_path / "wrong.py"
    monkeypatch.setattr(class_rules.inspect, "getfile", lambda _: str(file))
    file.write_text("import torch\n" * 81)
    with pytest.raises(ContractError, match=r"wrong.py has 81 lines, more than 80"):
        class_rules.is_small(Baseline)
    with pytest.raises(ContractError, match=r"'magnitude' is in wrong.py: the file must be magni"):
        class_rules.is_named_after_its_file(Baseline)
    class_rules.stands_alone(Baseline)
    for line in ("from pipelines.training.cell import check", "from baselines import random"):
        file.write_text(line)
        with pytest.raises(ContractError, match=r"it imports .*: a method uses"):
            class_rules.stands_alone(Baseline)


def test_a_budget_that_is_not_used(data: TrainingData) -> None:
    rehearsal = perform(Magnitude, OPTIONS, ("unstructured", "ann", 0.4), data)
    run_rules.spends_its_budget(rehearsal)
    rehearsal.meter.phases.subtract(training=100)
    with pytest.raises(ContractError, match="it ends after 2234 of 2334 samples"):
        run_rules.spends_its_budget(rehearsal)


def test_runs_that_differ(data: TrainingData) -> None:
    class Remembering(Magnitude):
        runs: ClassVar[list[int]] = []

        def masks(self, progress: float) -> Masks | None:
            masks = super().masks(progress)
            self.runs.append(1)
            return masks if len(self.runs) % 2 else None

    one, two = (perform(Remembering, OPTIONS, ("unstructured", "ann", 0.4), data) for _ in range(2))
    run_rules.repeats(one, one)
    with pytest.raises(ContractError, match="two runs of one seed give different masks"):
        run_rules.repeats(one, two)


def test_emergent_methods_find_a_density(data: TrainingData) -> None:
    whole = perform(Dense, {}, ("none", "ann", 1.0), data)
    with pytest.raises(ContractError, match="finds no density of its own but ends at"):
        run_rules.reaches_its_density(replace(whole, target=None, masks=[]))


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
        ("x = 1\nclass Wrong(\n", r"SyntaxError at wrong.py:2: .*; mend it there\."),
        ("\nimport nothing_of_this_name", r"ModuleNotFoundError at wrong.py:2: No module named"),
        ("x = 1", r"wrong.py holds no method named 'wrong': it needs a subclass of Pruner with"),
    ],
)
def test_files_without_a_method(wrong: Path, source: str, sentence: str) -> None:
    wrong.write_text(source)
    with pytest.raises(ContractError, match=sentence):
        find(["wrong"])


def test_unknown_names() -> None:
    with pytest.raises(InputError, match="did you mean 'magnitude'"):
        find(["magnitud"])
    assert find(["dense"]) == {"dense": Dense}
    assert find([]) == methods()


def test_check(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "check", "dense") == 0
    assert capsys.readouterr().out == "ok     dense (none)\n"
    params = project / "params.yaml"
    params.write_text(re.sub(r"\n    p: ", "\n    q: ", params.read_text(), count=1))
    assert call(monkeypatch, "check", "dense", "magnitude") == 1
    captured = capsys.readouterr()
    fault = "fault  magnitude: hyper-parameter 'p' is not in params.yaml: write it there"
    assert captured.out.splitlines()[1].startswith(fault)
    assert "1 of 2 methods break the contract (see above)" in captured.err
    for arguments in ([], ["dense", "--all"]):
        assert call(monkeypatch, "check", *arguments) == 2
