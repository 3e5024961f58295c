"""Small projects: a folder with params.yaml and methods.yaml."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tests.helpers.paths import ROOT


def write_params(folder: Path, fields: dict[str, Any]) -> None:
    """Write params.yaml as JSON, which is YAML without aliases."""
    (folder / "params.yaml").write_text(json.dumps(fields))


def copy_settings(folder: Path) -> None:
    """Copy params.yaml and methods.yaml of this repository."""
    for name in ("params.yaml", "methods.yaml"):
        shutil.copy(ROOT / name, folder)
