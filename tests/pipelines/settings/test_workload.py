"""Workloads: settings that do not fit are refused, and whole cells use all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from pipelines.common.errors import InputError
from pipelines.common.structs import as_json
from pipelines.data import load_training
from pipelines.data import splits as splits_module
from pipelines.data.augment import Augmenter
from pipelines.data.splits import Batch, Split
from pipelines.records.record import RunRecord
from pipelines.settings.augmentation import Augmentation
from pipelines.settings.spec import RunSpec
from pipelines.settings.workload import Workload
from pipelines.training.cell import run_cell

EVERYTHING = Augmentation(
    crop=4, flip=True, rotation=5, policy="rand-m9-mstd0.5-inc1", colour_jitter=0.4, erasing=0.25
)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"normalization": "released"}, "normalization released exists for cifar-10 only"),
        ({"frames": {}, "normalization": "none"}, "recordings are never normalised"),
        (
            {"frames": {}, "recipe": {"augmentation": {"erasing": 0.1}}},
            "recordings can have the augmentations crop, flip and rotation only",
        ),
    ],
)
def test_settings_that_do_not_fit_the_data_are_refused(
    tiny: dict[str, Workload], changes: dict[str, Any], sentence: str
) -> None:
    fields = tiny["digits-snn"].model_dump(exclude_defaults=True)
    recipe = fields["recipe"] | changes.get("recipe", {})
    with pytest.raises(ValidationError, match=sentence):
        Workload.model_validate(fields | changes | {"recipe": recipe})


def test_augmentation_that_the_images_cannot_have_is_refused(data_root: Path) -> None:
    with pytest.raises(InputError, match="digits is grey; policy and colour_jitter"):
        load_training("digits", data_root, augmentation=Augmentation(colour_jitter=0.1))
    with pytest.raises(InputError, match="images of digits have one size; ask for 'crop'"):
        load_training("digits", data_root, augmentation=Augmentation(resized_crop=True))


def released(tiny: dict[str, Workload]) -> Workload:
    """A workload on CIFAR-10 with mean squared error, released normalization and augmentation."""
    fields = tiny["digits-ann"].model_dump(exclude_defaults=True)
    recipe = fields["recipe"] | {
        "batch_size": 25,
        "loss": "mse",
        "floor": 1e-5,
        "augmentation": EVERYTHING.model_dump(),
    }
    changes = {"data": "cifar-10", "recipe": recipe, "normalization": "released"}
    return Workload.model_validate(fields | changes)


def cell(workload: Workload, method: str = "dense", **fields: Any) -> RunSpec:
    granularity = "none" if method == "dense" else "unstructured"
    density = 1.0 if method == "dense" else 0.25
    return RunSpec(
        workload="tiny",
        settings=workload,
        method=method,
        granularity=granularity,
        density=density,
        seed=3,
        **fields,
    )


def reproducible(record: RunRecord) -> dict[str, Any]:
    """Fields of a record that two runs of one cell must share."""
    assert record.outcome is not None, record.message
    fields = as_json(record)
    del fields["outcome"]["cost"]
    for point in fields["curve"]:
        del point["seconds"]
    names = ("status", "message", "spent", "trajectory", "outcome", "curve")
    return {name: fields[name] for name in names}


def test_a_cell_with_every_augmentation_is_reproducible(
    tiny: dict[str, Workload], small_cifar: Path
) -> None:
    spec = cell(released(tiny), "snip", options={"start": 0.0, "stop": 0.0, "updates": 1})
    first, second = run_cell(spec, small_cifar), run_cell(spec, small_cifar)
    assert first.status == "ok", first.message
    assert reproducible(first) == reproducible(second)
    assert first.spec.settings.normalization == "released"
    recipe = spec.settings.recipe.model_copy(update={"augmentation": Augmentation()})
    plain = cell(spec.settings.model_copy(update={"recipe": recipe}), "snip", options=spec.options)
    assert reproducible(run_cell(plain, small_cifar))["curve"] != reproducible(first)["curve"]


def test_augmentation_is_the_same_for_all_methods_and_in_training_steps_only(
    tiny: dict[str, Workload], small_cifar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = released(tiny).model_dump(exclude_defaults=True)
    asked = {"crop": 4, "flip": True, "erasing": 0.5}
    settings = Workload.model_validate(
        fields | {"recipe": fields["recipe"] | {"augmentation": asked}}
    )
    seen: dict[str, list[torch.Tensor]] = {}
    unchanged: list[int] = []  # sizes of batches without augmentation
    batch = Split.batch

    def watch(self: Split, at: Any, augmenter: Augmenter | None = None) -> Batch:
        found = batch(self, at, augmenter)
        if augmenter is None:
            unchanged.append(len(found[1]))
        else:
            seen[method].append(found[0])
        return found

    monkeypatch.setattr(splits_module.Split, "batch", watch)
    options = {"snip": {"start": 0.0, "stop": 0.0, "updates": 1, "samples": 30}}
    for method in ("dense", "snip", "magnitude"):
        seen[method] = []
        unchanged.clear()
        record = run_cell(cell(settings, method, options=options.get(method, {})), small_cifar)
        assert record.status == "ok", record.message
        saliency = record.spent.get("saliency", 0)
        # 25 for the warm-up; 20 each for three validations, the latencies and the test. Single
        # samples are read for their shape.
        assert sum(size for size in unchanged if size > 1) == 25 + 5 * 20 + saliency
        assert sum(map(len, seen[method])) == record.spent["training"] == 200 - saliency
    for one, other in zip(seen["dense"], seen["magnitude"], strict=True):
        assert torch.equal(one, other)
    for one, other in zip(seen["dense"], seen["snip"], strict=False):
        shared = min(len(one), len(other))
        assert torch.equal(one[:shared], other[:shared])
    assert not torch.equal(seen["dense"][0], seen["dense"][4]), "each epoch draws anew"


def test_settings_at_their_default_are_not_in_the_canonical_form(tiny: dict[str, Workload]) -> None:
    canonical = cell(tiny["digits-snn"]).canonical()
    for field in ("augmentation", "normalization", "schedule", "floor", "step_every", "mse"):
        assert field not in canonical
    assert '"augmentation":{"crop":4' not in canonical
    assert "released" in cell(released(tiny)).canonical()
