"""No test of data uses the network, or files that the user has."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest

from pipelines.data.download import DATA_VARIABLE


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.delenv(DATA_VARIABLE, raising=False)
