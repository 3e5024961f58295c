"""The registry: unknown names and wrong options are refused."""

from __future__ import annotations

import pytest

from pipelines.common.errors import InputError
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
