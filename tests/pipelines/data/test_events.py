"""Binning of events into frames."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipelines.boards.params import Params
from pipelines.data.events import Binning, binning_of
from pipelines.settings.workload import Frames, Workload
from tests.helpers.event_files import events_of


def test_frames_by_hand() -> None:
    events = events_of(
        (100, 0, 0, 1), (104, 0, 0, 1), (105, 1, 0, 0), (199, 2, 1, 1), (199, 7, 0, 1)
    )
    by_time = Binning(2, "time", "counts").frames(events, 2, 3)
    assert by_time.shape == (2, 2, 2, 3)
    assert by_time[0].tolist() == [[[0, 1, 0], [0, 0, 0]], [[2, 0, 0], [0, 0, 0]]]
    assert by_time[1].tolist() == [[[0, 0, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 1]]]
    binary = Binning(2, "time", "binary").frames(events, 2, 3)
    assert binary.max() == 1
    assert (binary == (by_time > 0)).all()
    by_count = Binning(2, "count", "counts").frames(events, 2, 3)  # 3 and 2, one outside
    assert by_count.sum((1, 2, 3)).tolist() == [3, 1]
    assert Binning(3).frames(events_of(), 2, 3).sum() == 0


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=200),
    st.integers(1, 7),
    st.sampled_from(["time", "count"]),
)
def test_every_event_is_in_a_frame_in_order(times: list[int], steps: int, by: str) -> None:
    binning = Binning(steps, by, "counts")  # type: ignore[arg-type]
    events = events_of(*((t, i % 2, 0, 1) for i, t in enumerate(sorted(times))))
    frames = binning.frames(events, 1, 2)
    assert frames.sum(dtype=int) == len(times)
    per_frame = frames.sum((1, 2, 3), dtype=int)
    if by == "count":
        assert per_frame.max() - per_frame.min() <= 1
    else:
        first, last = min(times), max(times)
        early = sum(t - first < (last - first + 1) / steps for t in times)
        assert per_frame[0] == early


def test_pixels_binned_together() -> None:
    events = events_of((0, 0, 0, 1), (0, 1, 1, 1), (0, 4, 2, 0), (9, 4, 2, 0), (9, 5, 0, 1))
    small = Binning(2, "time", "counts", 2).frames(events, 3, 5)  # one event is outside
    assert small.shape == Binning(2, scale=2).shape(3, 5) == (2, 2, 2, 3)
    assert small[0].tolist() == [[[0, 0, 0], [0, 0, 1]], [[2, 0, 0], [0, 0, 0]]]
    assert small[1].tolist() == [[[0, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, 0, 0]]]
    assert Binning(2, "time", "binary", 2).frames(events, 3, 5).max() == 1


def test_a_scale_of_one_changes_no_name_of_a_run(params: Params) -> None:
    workload = params.workloads["fashion-dvs"]
    assert "scale" not in workload.model_dump_json(exclude_defaults=True)
    halved = Workload.model_validate(
        workload.model_dump() | {"frames": Frames(scale=2).model_dump()}
    )
    assert binning_of(halved) == Binning(workload.network.time_steps, scale=2)
