"""What a record says of the machine."""

from __future__ import annotations

import re

import pytest

from pipelines.kernels.cpu import compiler
from pipelines.settings.network import Execution
from pipelines.training.environment import environment


def test_the_compiler_is_named_where_its_code_runs() -> None:
    fused = environment(1, Execution(plan="fused"))
    if fused.plan != "fused":
        pytest.skip("there is no C compiler")
    assert re.search(r"\d+\.\d+", fused.compiler)
    assert fused.compiler == compiler.version()
    assert not environment(1, Execution(plan="folded")).compiler
