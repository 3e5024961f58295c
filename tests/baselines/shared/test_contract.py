"""The contract: every rule, for every registered method at every granularity."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from baselines._template import Template
from baselines.shared.contract import Pruner
from pipelines.authoring import class_rules, run_rules
from pipelines.authoring.check import Case, cases, rehearse_case
from pipelines.authoring.rehearsal import Rehearsal
from pipelines.boards.params import Params
from pipelines.data import load_training
from pipelines.methods.registry import methods

KINDS = methods() | {"template": Template}  # a copy of the template must pass too

CASES = [(name, case) for name, kind in KINDS.items() for case in cases(kind)]
#: All rules of a case are tested in one process, which rehearses the case once.
GROUPED = [
    pytest.param(name, case, marks=pytest.mark.xdist_group(f"{name} {case}"))
    for name, case in CASES
]


@pytest.fixture(scope="session")
def rehearsal_of(params: Params, data_root: Path) -> Callable[..., Rehearsal]:
    """Rehearse a case; it runs once for all rules."""
    data = load_training("digits", data_root)

    @cache
    def once(name: str, case: Case, noise: int = 0) -> Rehearsal:
        return rehearse_case(KINDS[name], params.methods.get(name, {}), case, data, noise)

    return once


@pytest.mark.parametrize(("name", "case"), GROUPED)
@pytest.mark.parametrize("rule", run_rules.RULES)
def test_a_run_keeps_the_rule(
    rehearsal_of: Callable[..., Rehearsal], name: str, case: Case, rule: Callable[[Rehearsal], None]
) -> None:
    rule(rehearsal_of(name, case))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "case"), [(n, case) for n, case in CASES if case[1] == "snn"])
def test_same_seed_same_masks(
    rehearsal_of: Callable[..., Rehearsal], name: str, case: Case
) -> None:
    run_rules.repeats(rehearsal_of(name, case), rehearsal_of(name, case, noise=1))


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("rule", class_rules.RULES)
def test_a_class_keeps_the_rule(name: str, rule: Callable[[type[Pruner]], None]) -> None:
    rule(KINDS[name])


@pytest.mark.parametrize("name", methods())
def test_hyper_parameters_are_in_params_yaml(params: Params, name: str) -> None:
    class_rules.is_written_out(methods()[name], params.methods[name])
