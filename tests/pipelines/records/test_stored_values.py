"""Values go into JSON and tensors and come back with their identities; foreign classes do not."""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from baselines.shared.masks import Masks
from pipelines.records.stored_values import StateError, pack, unpack
from pipelines.records.trajectory import Moment

HERE = ("tests",)


@dataclass
class Node:
    """An object that can hold itself."""

    other: Any = None


def back(values: Any, **known: Any) -> Any:
    return unpack(pack(values, known, HERE).copy(), known, HERE)


def test_plain_values_and_containers_come_back() -> None:
    values = {
        1: [None, True, -1, 2**70, 0.1, float("inf"), "text", (1, (2.5,)), {3}, frozenset("a")],
        ("a", 1): Counter(a=2),
        "queue": deque([1, 2], maxlen=2),
        "sums": defaultdict(int, a=1),
        "moment": Moment(progress=0.5, units={"a": 1}),
        "class": Masks,
    }
    found = back(values)
    assert found == values
    assert found["queue"].maxlen == 2
    assert found["sums"]["new"] == 0
    assert type(found[1][1]) is bool


def test_tensors_keep_values_strides_and_shared_memory() -> None:
    whole = torch.randn(4, 3, 2, 2).to(memory_format=torch.channels_last)
    row, wide = whole[1], torch.ones(2, 1).expand(2, 5)
    logits = torch.zeros(3, requires_grad=True)
    logits.grad = torch.ones(3)
    again_whole, again_row, again_wide, again_logits, twice = back([whole, row, wide, logits, row])
    assert torch.equal(again_whole, whole)
    assert again_whole.stride() == whole.stride()
    assert again_wide.stride() == (1, 0)
    assert again_row is twice
    again_row.zero_()
    assert not again_whole[1].any()
    assert whole[1].any(), "a copy"
    assert again_logits.requires_grad
    assert torch.equal(again_logits.grad, torch.ones(3))


def test_cycles_and_known_objects_are_references() -> None:
    weight = torch.nn.Parameter(torch.ones(2))
    one = Node()
    one.other = [one, weight, weight.detach()]
    packed = pack({"one": one}, {"weight": weight}, HERE)
    assert not packed.memory, "the memory of a known tensor is not stored"
    new_weight = torch.nn.Parameter(torch.zeros(2))
    found = unpack(packed.copy(), {"weight": new_weight}, HERE)["one"]
    assert found.other[0] is found
    assert found.other[1] is new_weight
    found.other[2].fill_(3)
    assert new_weight.tolist() == [3, 3]


def test_generators_and_optimizers_go_on() -> None:
    weight = torch.ones(3, requires_grad=True)
    adam = torch.optim.AdamW([weight], lr=0.1)
    values = {
        "torch": torch.Generator().manual_seed(1),
        "numpy": np.random.default_rng(2),
        "python": random.Random(3),
        "weight": weight,
        "optimizer": adam,
        "array": np.arange(3.0),
        "number": np.float32(0.1),
    }
    weight.sum().backward()
    adam.step()
    found = back(values)
    draws = [
        (
            torch.rand(1, generator=each["torch"]).item(),
            each["numpy"].random(),
            each["python"].random(),
        )
        for each in (values, found)
    ]
    assert draws[0] == draws[1]
    assert found["array"].tolist() == [0, 1, 2]
    assert found["number"] == np.float32(0.1)
    for each in (values, found):
        each["weight"].grad = torch.tensor([1.0, -2.0, 0.5])
        each["optimizer"].step()
    assert torch.equal(found["weight"], weight)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (lambda: 1, "lambda"),
        (Fraction(1, 2), r"fractions\.Fraction"),
        (iter([1]), "list_iterator"),
        (torch.ones(2, requires_grad=True) * 2, r"detach\(\)"),
        (torch.eye(2).to_sparse(), "sparse"),
        (torch.nn.Linear(1, 1), "Linear"),
        (np.array(["text"]), "array of"),
        (defaultdict(lambda: 1), "defaultdict"),
        (Node().__init__, "method"),
    ],
)
def test_what_cannot_be_stored_is_refused_with_its_place(value: Any, what: str) -> None:
    with pytest.raises(StateError, match=rf"^top\['deep'\]\[0\] is .*{what}"):
        pack({"top": {"deep": [value]}}, {}, HERE)


def test_a_file_cannot_name_classes_of_other_packages() -> None:
    packed = pack([Node(1)], {}, HERE).copy()
    with pytest.raises(StateError, match="not a class of this project"):
        unpack(packed, {})
    (node,) = (node for node in packed.nodes if node["is"] == "object")
    node["name"] = "baselines.shared.masks:Gone"
    with pytest.raises(StateError, match="does not exist"):
        unpack(packed, {}, HERE)
