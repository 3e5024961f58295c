"""Trajectories: the recorder notes each change of the masks, and only what changed."""

from __future__ import annotations

import json
from dataclasses import replace

import torch

from pipelines.common.structs import as_json, decoder
from pipelines.networks.initial import build_network, build_structure
from pipelines.records.trajectory import Moment, Trajectory, TrajectoryRecorder
from pipelines.settings.workload import Workload


def test_only_numbers_that_changed_are_recorded(tiny: dict[str, Workload]) -> None:
    network = build_network(tiny["digits-snn"].network, (1, 8, 8), 10, 0)
    structure = build_structure(network, "spatio-temporal")
    recorder = TrajectoryRecorder(structure)
    units = {group.name: torch.ones(group.size, dtype=torch.bool) for group in structure.groups}
    recorder.add(structure.masks(units), 0.1)
    assert not recorder.moments, "nothing is pruned yet"
    units["fc1"] = torch.arange(12) < 5
    steps = {"fc1": torch.ones(12, 4, dtype=torch.bool)}
    recorder.add(replace(structure.masks(units), steps=steps), 0.2)
    # Of the kept units 0 to 4, units 3 and 4 may spike at each of 4 steps: 8 pairs.
    steps["fc1"] = torch.arange(12).view(12, 1).expand(12, 4) > 2
    weights = {"fc1": torch.ones(12, 32, dtype=torch.bool)}
    weights["fc1"][0, :7] = False
    recorder.add(replace(structure.masks(units, weights), steps=steps), 0.3)
    recorder.add(replace(structure.masks(units, weights), steps=steps), 0.4)
    assert recorder.moments == [
        Moment(progress=0.2, units={"fc1": 5}),
        Moment(progress=0.3, weights={"fc1": 5 * 32 - 7}, steps={"fc1": 8}),
    ]


def test_a_trajectory_keeps_its_digest_when_it_is_written_and_read() -> None:
    moment = Moment(progress=0.2, units={"fc1": 5})
    trajectory = Trajectory(restarts=(0.5,), moments=(moment,))
    text = json.dumps(as_json(trajectory))
    assert '{"progress": 0.2, "units": {"fc1": 5}}' in text
    assert decoder(Trajectory).decode(text).digest == trajectory.digest


def test_units_come_back_if_a_number_rises() -> None:
    three, seven = (Moment(progress=0.1, units={"fc1": number}) for number in (3, 7))
    assert Trajectory(moments=(three, seven)).revives
    assert not Trajectory(moments=(seven, three)).revives
    other = Moment(progress=0.2, units={"conv1": 9})
    assert not Trajectory(moments=(three, other)).revives, "another group"
