"""The contract, over every registered method at every granularity."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from baselines._template import Template
from baselines.shared.contract import Pruner
from baselines.shared.info import PrunerInfo
from pipelines.authoring import class_rules, run_rules
from pipelines.authoring.check import Case, cases
from pipelines.authoring.check import perform as rehearse_case
from pipelines.authoring.rehearsal import Rehearsal
from pipelines.boards.params import Params
from pipelines.common.errors import InputError
from pipelines.data import load_training
from pipelines.methods import catalogue
from pipelines.methods.catalogue import infos
from pipelines.methods.registry import make, method, methods
from pipelines.settings.spec import EMERGENT
from pipelines.training.cell import check

KINDS = methods() | {"template": Template}  # a copy of the template must pass, too
CASES = [(name, case) for name, kind in KINDS.items() for case in cases(kind)]


@pytest.fixture(scope="session")
def perform(params: Params, data_root: Path) -> Callable[..., Rehearsal]:
    """Rehearses a case, once for all rules."""
    data = load_training("digits", data_root)

    @cache
    def once(name: str, case: Case, noise: int = 0) -> Rehearsal:
        return rehearse_case(KINDS[name], params.methods.get(name, {}), case, data, noise)

    return once


@pytest.mark.parametrize(("name", "case"), CASES)
@pytest.mark.parametrize("rule", run_rules.RULES)
def test_a_run_keeps(
    perform: Callable[..., Rehearsal], name: str, case: Case, rule: Callable[[Rehearsal], None]
) -> None:
    rule(perform(name, case))


@pytest.mark.parametrize(("name", "case"), [(n, case) for n, case in CASES if case[1] == "snn"])
def test_same_seed_same_masks(perform: Callable[..., Rehearsal], name: str, case: Case) -> None:
    run_rules.repeats(perform(name, case), perform(name, case, noise=1))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("rule", class_rules.RULES)
def test_a_class_keeps(name: str, rule: Callable[[type[Pruner]], None]) -> None:
    rule(KINDS[name])


@pytest.mark.parametrize("name", methods())
def test_hyper_parameters_are_written_out(params: Params, name: str) -> None:
    class_rules.is_written_out(methods()[name], params.methods[name])


def test_unknown_method_and_options_say_what_is_near() -> None:
    with pytest.raises(InputError, match="did you mean 'magnitude'"):
        method("magnitud")
    with pytest.raises(InputError, match="did you mean 'scope'"):
        make("magnitude", {"scop": "global"})
    with pytest.raises(InputError, match="option 'scope': Input should be"):
        make("magnitude", {"scope": "everywhere"})
    with pytest.raises(InputError, match="start <= stop"):
        make("magnitude", {"start": 0.9, "stop": 0.1})
    with pytest.raises(InputError, match="option 'updates'"):
        make("magnitude", {"updates": "many"})


def test_cells_that_cannot_be_are_refused(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, granularity, density, reason in [
        ("dpap", "unstructured", 0.5, "has granularity structured, hybrid, not unstructured"),
        ("magnitude", "structured", EMERGENT, "give --density"),
        ("dense", "none", 0.5, "its density must be 1"),
    ]:
        with pytest.raises(InputError, match=reason):
            params.spec("digits-snn", name, granularity, density, 0)
    spec = params.spec("digits-snn", "dense", None, 1.0, 0)
    assert check(spec).info.name == "dense"
    info = dataclasses.replace(method("magnitude").info, tracks=("from-scratch",))
    monkeypatch.setattr(method("magnitude"), "info", info)
    with pytest.raises(
        InputError, match="does not take part in track post-training, only in from-sc"
    ):
        params.spec("digits-snn", "magnitude", None, 0.5, 0, "post-training")


def test_the_catalogue_says_what_the_classes_say() -> None:
    assert infos() == {name: kind.info for name, kind in methods().items()}


def test_an_info_that_cannot_be_read_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(file: Path) -> Iterator[PrunerInfo]:
        raise ValueError(f"{file}: info is not built where it is set")

    monkeypatch.setattr(catalogue, "_read", unreadable)
    caches = infos, catalogue._entries
    for one in caches:
        one.cache_clear()
    try:
        assert infos()["dpap"] is methods()["dpap"].info
        assert catalogue.source("dpap") == "dpap/pruner.py"
        assert catalogue.source("nobody") == ""
    finally:
        for one in caches:
            one.cache_clear()


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("class A:\n info = PrunerInfo(name='a' + X, summary='', paper='')", ValueError),
        ("class A:\n info = replace(B.info, name='a')", KeyError),
        ("class A:\n info = INFO", ValueError),
        ("class A:\n info = PrunerInfo(nam='a')", TypeError),
    ],
)
def test_what_the_catalogue_cannot_read(
    tmp_path: Path, source: str, error: type[Exception]
) -> None:
    (tmp_path / "a.py").write_text(source)
    with pytest.raises(error):
        list(catalogue._read(tmp_path / "a.py"))
