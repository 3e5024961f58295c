"""methods.yaml is read as it was written; mistakes in it are refused in one sentence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines.boards.hyperparameters import METHODS, Entry, read_entries, write_entries
from pipelines.boards.spaces import Choices, Range
from pipelines.common.errors import InputError
from tests.helpers.paths import ROOT

ENTRIES = {
    "zeta": Entry(
        options={
            "rate": 1e-5,
            "scope": "on",
            "p": 2,
            "deep": {"a": [1, None, True]},
            "name": "0.1",
        },
        granularities={"hybrid": {"scope": "off"}},
        space={
            "rate": Range(low=1e-6, high=0.1, log=True),
            "scope": Choices(choices=("on", "off")),
        },
        tuned={"snn": {"hybrid": {"rate": 1e-4}}, "ann": {"structured": {"scope": "off", "p": 3}}},
    ),
    "alpha": Entry(options={}),
    "my-method": Entry(options={"text": "a long text " * 20}),
}


def test_what_is_written_is_read_back_in_its_order(tmp_path: Path) -> None:
    write_entries(tmp_path, ENTRIES)
    found = read_entries(tmp_path)
    assert found == ENTRIES
    assert list(found) == list(ENTRIES)
    assert (tmp_path / METHODS).read_text().startswith("# The hyper-parameters of every method")


def test_writing_the_entries_of_the_repository_changes_no_byte(tmp_path: Path) -> None:
    """Otherwise the first tuning would change lines of methods that it does not tune."""
    shutil.copy(ROOT / METHODS, tmp_path)
    write_entries(tmp_path, read_entries(tmp_path))
    assert (tmp_path / METHODS).read_bytes() == (ROOT / METHODS).read_bytes()


def test_an_empty_file_has_no_entries(tmp_path: Path) -> None:
    (tmp_path / METHODS).write_text("# only a comment\n")
    assert read_entries(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dense: {options: {}}\ndense: {options: {}}\n", "key 'dense' in line 2 is there twice"),
        ("lth:\n  options: {p: 1, p: 2}\n", "key 'p' in line 2 is there twice"),
        ("a: &one {options: {}}\nb: *one\n", "the value in line 1 is used a second time"),
        ("lth: [", "is not valid YAML"),
        ("- lth\n", "Input should be a valid dictionary"),
        ("lth: {options: 3}\n", "lth.options: Input should be a valid dictionary"),
        ("lth: {option: {}}\n", "lth.option: Extra inputs are not permitted"),
        ("lth: {space: {p: {low: 2, high: 1}}}\n", "low 2 must be less than high 1"),
        ("lth: {space: {p: {choices: [1]}}}\n", "lth.space.p"),
        ("lth: {tuned: {rnn: {hybrid: {}}}}\n", "lth.tuned.rnn"),
        ("lth: {tuned: {snn: {units: {}}}}\n", "lth.tuned.snn.units"),
        ("lth: {tuned: {snn: {hybrid: {p: 1}}}}\n", "has 'p', which is not among the options"),
        ("lth: {granularities: {units: {}}}\n", "lth.granularities.units"),
        ("lth: {granularities: {hybrid: {p: 1}}}\n", "granularities has 'p', which is not among"),
    ],
)
def test_a_mistake_is_refused_in_one_sentence(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / METHODS
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        read_entries(tmp_path)
    sentence = str(refused.value)
    assert sentence.startswith(str(path))
    assert reason in sentence
    assert "\n" not in sentence


def test_a_missing_file_is_restored_with_git(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is missing; restore it with: git checkout"):
        read_entries(tmp_path)
