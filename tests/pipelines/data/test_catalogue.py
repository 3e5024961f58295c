"""The table of data sets."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from pipelines.common.errors import InputError
from pipelines.data import SOURCES, fetch, load_test, load_training
from pipelines.data.images import ImageDataset
from pipelines.data.sets.dvs_gesture import Trials
from pipelines.data.sets.imagenet import ImageFolders
from pipelines.data.sets.tonic_sets import TEST, TonicSet
from tests.helpers.paths import ROOT


def test_only_evaluation_opens_the_test_split() -> None:
    callers = set()
    for folder in ("baselines", "dpap", "pipelines"):
        for file in (ROOT / folder).rglob("*.py"):
            names = {
                node.id if isinstance(node, ast.Name) else node.attr
                for node in ast.walk(ast.parse(file.read_text()))
                if isinstance(node, ast.Name | ast.Attribute)
            }
            if "load_test" in names:
                callers.add(file.relative_to(ROOT).as_posix())
    loaders = {"pipelines/data/catalogue.py", "pipelines/data/own.py"}
    assert callers == {"pipelines/training/evaluation.py"} | loaders


def test_unknown_data_set() -> None:
    with pytest.raises(InputError, match="did you mean 'digits'"):
        fetch("digit", Path())
    assert set(SOURCES) >= {"digits", "fashion-mnist"}


@pytest.mark.parametrize("name", SOURCES)
def test_the_sizes_in_the_table_are_those_of_the_loaders(name: str, data_root: Path) -> None:
    source = SOURCES[name]
    size, loader = source.size, source.loader
    if source.events:
        assert size.shape[1:] == source.event_loader.SENSOR
    if isinstance(loader, TonicSet):
        assert size.shape[0] == loader.polarities
        assert (size.classes, size.validation) == (loader.classes, loader.validation)
        assert size.train + size.validation + size.test == sum(loader.counts.values())
        assert size.test == (loader.test or loader.counts[TEST])
    elif isinstance(loader, ImageDataset):
        assert (size.classes, size.validation) == (loader.classes, loader.validation)
    elif isinstance(loader, Trials | ImageFolders):
        assert (size.classes, size.validation) == (loader.classes, loader.validation)
        assert size.train + size.validation == loader.training
        assert size.test == (getattr(loader, "kept", 0) or loader.test)
    elif not source.events:
        found = load_training(name, data_root)
        test = load_test(name, data_root)
        lengths = len(found.train), len(found.validation), len(test)
        assert lengths == (source.size.train, source.size.validation, source.size.test)
        assert (found.input_shape, found.classes) == (source.size.shape, source.size.classes)
