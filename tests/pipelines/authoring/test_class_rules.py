"""Rules about classes and files: each names the fault and the remedy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from baselines.magnitude import Magnitude
from baselines.shared.contract import Pruner, PrunerInfo
from baselines.shared.masks import Masks
from pipelines.authoring import class_rules
from pipelines.authoring.mask_rules import ContractError

OPTIONS = {"start": 0.1, "stop": 0.6, "updates": 20, "scope": "global", "p": 2}


@dataclass
class Unexplained(Magnitude):
    """Does not explain its hyper-parameter."""

    info: ClassVar[PrunerInfo] = replace(Magnitude.info, name="unexplained")
    share: float = 0.5


def test_hyper_parameters_are_explained_and_in_methods_yaml() -> None:
    with pytest.raises(ContractError, match="'share' is not explained: add it, with its range"):
        class_rules.is_documented(Unexplained)
    with pytest.raises(
        ContractError, match=r"the method is not in methods\.yaml: write 'unexplained:'"
    ):
        class_rules.is_written_out(Unexplained, None)
    with pytest.raises(ContractError, match=r"'share' is not in methods\.yaml: write it under"):
        class_rules.is_written_out(Unexplained, OPTIONS)
    with pytest.raises(ContractError, match="has wrong values: method 'magnitude': need 0 <= sta"):
        class_rules.is_written_out(Magnitude, OPTIONS | {"start": 0.9})


def test_a_method_is_a_dataclass() -> None:
    class Plain(Pruner):
        """Not a dataclass."""

        info = PrunerInfo("plain", "Does nothing.", "none", ("none",))
        share: float = 0.5

        def masks(self, progress: float) -> Masks | None:
            return None

    told = "the hyper-parameters of Plain cannot be set: write @dataclass above the class"
    with pytest.raises(ContractError, match=told):
        class_rules.is_a_dataclass(Plain)


def test_rules_about_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Baseline(Magnitude):
        __module__ = "baselines.wrong"

    file = tmp_path / "wrong.py"
    monkeypatch.setattr(class_rules.inspect, "getfile", lambda _: str(file))
    file.write_text("import torch\n")
    file.write_text("import torch\n" * 80)
    assert not list(class_rules.advice(Baseline))
    file.write_text("import torch\n" * 81)
    (sentence,) = class_rules.advice(Baseline)
    assert sentence.startswith("wrong.py has 81 lines; about 80 are advised.")
    monkeypatch.setattr(Baseline, "__module__", "elsewhere.wrong")
    assert not list(class_rules.advice(Baseline)), "it is a file of another package"
    monkeypatch.setattr(Baseline, "__module__", "baselines.wrong")
    file.write_text("import torch\n")
    with pytest.raises(ContractError, match=r"'magnitude' is in wrong.py: rename the file to magn"):
        class_rules.is_named_after_its_file(Baseline)
    class_rules.stands_alone(Baseline)
    for line in ("from pipelines.training.cell import check", "from baselines import random"):
        file.write_text(line)
        with pytest.raises(
            ContractError, match=r"the method imports .*: import from baselines/shared/ only"
        ):
            class_rules.stands_alone(Baseline)
