"""The settings of a search: the default comes first, and the range of each option is covered."""

from __future__ import annotations

import pytest

from pipelines.authoring.search import draw_settings
from pipelines.boards.spaces import Choices, Range
from pipelines.common.errors import InputError

DEFAULT = {"start": 0.1, "stop": 0.6, "updates": 100, "scope": "global", "p": 2}


def test_settings_cover_the_range_of_each_option_evenly() -> None:
    space = {
        "stop": Range(low=0.2, high=0.8),
        "updates": Range(low=10, high=160, log=True),
        "scope": Choices(choices=("global", "layer-wise")),
    }
    found = draw_settings("magnitude", space, DEFAULT, 13)
    assert found[0] == DEFAULT
    others = found[1:]
    assert len(others) == 12
    tenths = sorted(int((one["stop"] - 0.2) / 0.05) for one in others)
    assert tenths == list(range(12)), "one setting in each twelfth of the range"
    assert all(one["stop"] == float(f"{one['stop']:.3g}") for one in others)
    assert all(isinstance(one["updates"], int) for one in others)
    assert sum(one["updates"] < 40 for one in others) == 6, "half of them below the middle, in log"
    assert sum(one["scope"] == "global" for one in others) == 6
    assert all((one["start"], one["p"]) == (0.1, 2) for one in others), "not in the space"
    assert draw_settings("magnitude", space, DEFAULT, 13) == found


def test_both_bounds_of_whole_numbers_can_be_chosen() -> None:
    space = {"p": Range(low=1, high=2)}
    found = draw_settings("magnitude", space, DEFAULT, 9)
    assert [one["p"] for one in found] == [2, 1], "and an equal setting is drawn once"


def test_an_equal_setting_is_replaced_by_another_one() -> None:
    space = {"updates": Range(low=50, high=55), "scope": Choices(choices=("global", "layer-wise"))}
    found = draw_settings("magnitude", space, DEFAULT, 13)
    others = {(one["updates"], one["scope"]) for one in found[1:]}
    assert len(others) == len(found) - 1 == 12, "the whole space, without the default"


def test_a_setting_that_the_method_refuses_is_drawn_again() -> None:
    space = {"start": Range(low=0.0, high=1.0), "stop": Range(low=0.0, high=1.0)}
    found = draw_settings("magnitude", space, DEFAULT, 10)
    assert len(found) == 10
    assert all(one["start"] <= one["stop"] for one in found)


@pytest.mark.parametrize(
    ("space", "reason"),
    [
        ({"stopp": Range(low=0, high=1)}, "unknown option of method 'magnitude' 'stopp'; did you"),
        ({"scope": Range(low=0, high=1)}, "the space of magnitude.scope is a range, but the hyp"),
    ],
)
def test_spaces_that_do_not_fit_the_method_are_refused(
    space: dict[str, Range], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        draw_settings("magnitude", dict(space), DEFAULT, 3)
