"""The registry: unknown names and wrong options are refused."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, make_dataclass

import pytest

from baselines.random import Random
from pipelines.common.errors import InputError
from pipelines.methods import registry
from pipelines.methods.registry import make, method


def test_unknown_methods_and_options_are_refused_with_the_nearest_name() -> None:
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


def hang() -> type:
    threading.Event().wait(600)
    return Random


def end() -> type:
    sys.exit(0)


#: What a plug-in does when it is imported, and a part of the reason why it is left out.
BROKEN: dict[str, tuple[Callable[[], type], str]] = {
    "hangs": (hang, "TimeoutError: its import takes longer than 0.05 seconds"),
    "ends the process": (end, "SystemExit: 0"),
    "has no method": (lambda: int, "it is no dataclass that extends Pruner"),
    "lacks an attribute": (
        lambda: make_dataclass("Bare", [], bases=(Random,), namespace={"info": None}),
        "it has no PrunerInfo",
    ),
    "has the name of another": (
        lambda: make_dataclass("Double", [], bases=(Random,), namespace={"info": Random.info}),
        "another method is named 'random'",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_plug_in_is_named_and_left_out(
    what: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load, reason = BROKEN[what]

    @dataclass
    class Entry:
        module: str = "other"
        dist: None = None
        value: str = "other:Other"

        def load(self) -> type:
            return load()

    monkeypatch.setattr(registry, "entry_points", lambda group: [Entry()])
    monkeypatch.setattr(registry, "IMPORT_SECONDS", 0.05)
    found = registry.methods.__wrapped__()
    assert found.keys() == registry.methods().keys()
    err = capsys.readouterr().err
    assert err.startswith("dpap-bench: plug-in other:Other is left out (")
    assert reason in err
    assert err.count("\n") == 1
