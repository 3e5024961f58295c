"""Recipes: loss, schedule, normalisation and augmentation belong to the workload."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pipelines.common.errors import InputError
from pipelines.common.structs import as_json
from pipelines.data import load_test, load_training
from pipelines.data import splits as splits_module
from pipelines.data.augment import Augmenter
from pipelines.data.images import Images, Part
from pipelines.data.sets import cifar
from pipelines.data.splits import Batch, Split
from pipelines.networks.initial import build_network
from pipelines.records.record import RunRecord
from pipelines.settings.augmentation import Augmentation
from pipelines.settings.spec import RunSpec
from pipelines.settings.workload import Recipe, Workload
from pipelines.training.budget import BudgetMeter
from pipelines.training.cell import run_cell
from pipelines.training.evaluation import evaluate
from pipelines.training.loss import loss_of
from pipelines.training.probe import NetworkProbe
from pipelines.training.schedule import learning_rate

EVERYTHING = Augmentation(
    crop=4, flip=True, rotation=5, policy="rand-m9-mstd0.5-inc1", colour_jitter=0.4, erasing=0.25
)


# Loss


def test_mean_squared_error_by_hand() -> None:
    scores = torch.tensor([[1.0, 0.0], [0.5, 0.5]], requires_grad=True)
    labels = torch.tensor([0, 1])
    assert loss_of("mse", scores, labels, "none").tolist() == [0.0, 0.25]
    assert loss_of("mse", scores, labels, "sum").item() == 0.25
    loss = loss_of("mse", scores, labels)
    assert loss.item() == 0.125
    loss.backward()
    assert scores.grad is not None
    assert scores.grad.tolist() == [[0.0, 0.0], [0.25, -0.25]]  # 2 (score - wanted) / (2 x 2)
    torch.testing.assert_close(
        loss, torch.nn.functional.mse_loss(scores, torch.eye(2)), rtol=0, atol=0
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_is_that_of_torch(reduction: Any) -> None:
    scores, labels = torch.randn(5, 3), torch.arange(5) % 3
    wanted = torch.nn.functional.cross_entropy(scores, labels, reduction=reduction)
    assert torch.equal(loss_of("cross-entropy", scores, labels, reduction), wanted)


def test_evaluation_and_saliency_have_the_loss_of_the_workload(
    tiny: dict[str, Workload], data_root: Path
) -> None:
    data = load_training("digits", data_root)
    network = build_network(tiny["digits-ann"].network, data.input_shape, data.classes, 0)
    train = data.train.part(np.arange(40))
    with torch.no_grad():
        scores = network.eval()(train.inputs)
    found = evaluate(network, train, "mse")
    assert found.loss == pytest.approx(float(loss_of("mse", scores, train.labels)), rel=1e-6)

    meter, draw = BudgetMeter(1000), torch.Generator().manual_seed(0)
    probe = NetworkProbe(network.train(), train, 40, meter, draw, "mse")
    inputs, labels = next(probe.batches(40))
    wanted = loss_of("mse", network(inputs), labels)
    torch.testing.assert_close(probe.loss(inputs, labels), wanted)
    weight = network.readout.weight
    (whole,) = torch.autograd.grad(loss_of("mse", network(inputs), labels, "sum"), weight)
    each = dict(probe.per_example(inputs, labels))["readout"]
    torch.testing.assert_close(each.sum(0), whole, rtol=1e-4, atol=1e-6)


# Schedule


def test_steps_of_the_learning_rate_by_hand() -> None:
    """Three hundred epochs, a tenth after each forty."""
    recipe = Recipe(
        epochs=300,
        batch_size=2,
        optimizer="adam",
        learning_rate=1e-3,
        schedule="step",
        step_every=40 / 300,
        floor=1e-6,
    )
    found = [learning_rate(recipe, epoch / 300) for epoch in (0, 39.9, 40, 80, 119, 120, 299)]
    assert found == pytest.approx([1e-3, 1e-3, 1e-4, 1e-5, 1e-5, 1e-6, 1e-6])


def test_a_cosine_that_ends_at_a_floor() -> None:
    recipe = Recipe(
        epochs=1, batch_size=2, optimizer="adamw", learning_rate=0.3, warmup=0.2, floor=0.1
    )
    found = [learning_rate(recipe, progress) for progress in (0, 0.1, 0.2, 0.6, 1)]
    assert found == pytest.approx([0, 0.15, 0.3, 0.2, 0.1])
    lower = recipe.model_copy(update={"learning_rate": 0.05})  # as fine-tuning may have it
    assert learning_rate(lower, 0.7) == 0.05


# Normalisation


@pytest.fixture
def colour(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """CIFAR-10 of 120 training images, 20 of which validate, and 20 test images."""
    draw = np.random.default_rng(0)
    parts = {
        part: Images(
            draw.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8), np.arange(n, dtype=np.int64) % 10
        )
        for part, n in (("training", 120), ("test", 20))
    }

    def read(_: object, folder: Path, part: Part) -> Images:
        return parts[part]

    monkeypatch.setattr(cifar.CifarArchive, "read", read)
    monkeypatch.setattr(cifar, "CIFAR_10", replace(cifar.CIFAR_10, validation=20))
    return tmp_path


def unit(split: Split, mean: tuple[float, ...], deviation: tuple[float, ...]) -> torch.Tensor:
    """The pixels in [0, 1] that inputs came from."""
    shape = (1, 3, 1, 1)
    return split.inputs * torch.tensor(deviation).view(shape) + torch.tensor(mean).view(shape)


IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CIFAR = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def test_the_mismatch_is_in_released_alone(colour: Path) -> None:
    raw = load_training("cifar-10", colour, normalization="none")
    assert 0 <= raw.train.inputs.min() < 0.01
    assert 0.99 < raw.train.inputs.max() <= 1
    raw_test = load_test("cifar-10", colour, normalization="none")
    found = load_training("cifar-10", colour, normalization="released")
    test = load_test("cifar-10", colour, normalization="released")
    for split, constants, wanted in (
        (found.train, IMAGENET, raw.train),
        (found.validation, CIFAR, raw.validation),  # it stands for the test images
        (test, CIFAR, raw_test),
    ):
        torch.testing.assert_close(unit(split, *constants), wanted.inputs, rtol=0, atol=1e-6)
    data = load_training("cifar-10", colour)
    means = tuple(raw.train.inputs.double().mean((0, 2, 3)).tolist())
    deviations = tuple(raw.train.inputs.double().std((0, 2, 3), correction=0).tolist())
    for split, wanted in ((data.train, raw.train), (data.validation, raw.validation)):
        torch.testing.assert_close(unit(split, means, deviations), wanted.inputs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", ["data", "none", "released"])
def test_batch_by_batch_is_the_same_as_at_once(colour: Path, kind: Any) -> None:
    at_once = load_training("cifar-10", colour, normalization=kind)
    by_batch = load_training("cifar-10", colour, None, kind, Augmentation(flip=True))
    for one, other in (
        (at_once.train, by_batch.train),
        (at_once.validation, by_batch.validation),
    ):
        assert other.inputs.dtype == torch.uint8
        assert torch.equal(one.batch(slice(None))[0], other.batch(slice(None))[0])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"normalization": "released"}, "released normalization is that of cifar-10 alone"),
        ({"frames": {}, "normalization": "none"}, "recordings are not normalised"),
        (
            {"frames": {}, "recipe": {"augmentation": {"erasing": 0.1}}},
            "recordings can have crop, flip and rotation",
        ),
    ],
)
def test_what_does_not_fit_the_data(
    tiny: dict[str, Workload], changes: dict[str, Any], sentence: str
) -> None:
    fields = tiny["digits-snn"].model_dump(exclude_defaults=True)
    recipe = fields["recipe"] | changes.get("recipe", {})
    with pytest.raises(ValidationError, match=sentence):
        Workload.model_validate(fields | changes | {"recipe": recipe})


def test_images_that_cannot_be_augmented_so(data_root: Path) -> None:
    with pytest.raises(InputError, match="digits is grey; policy and colour_jitter"):
        load_training("digits", data_root, augmentation=Augmentation(colour_jitter=0.1))
    with pytest.raises(InputError, match="images of digits have one size; ask for 'crop'"):
        load_training("digits", data_root, augmentation=Augmentation(resized_crop=True))


# Whole cells


def released(tiny: dict[str, Workload]) -> Workload:
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


def essence(record: RunRecord) -> dict[str, Any]:
    """A record without times and without what depends on the machine."""
    assert record.outcome is not None, record.message
    fields = as_json(record)
    del fields["outcome"]["cost"]
    for point in fields["curve"]:
        del point["seconds"]
    names = ("status", "message", "spent", "trajectory", "outcome", "curve")
    return {name: fields[name] for name in names}


def test_a_cell_with_every_augmentation_repeats_itself(
    tiny: dict[str, Workload], colour: Path
) -> None:
    spec = cell(released(tiny), "snip", options={"start": 0.0, "stop": 0.0, "updates": 1})
    first, second = run_cell(spec, colour), run_cell(spec, colour)
    assert first.status == "ok", first.message
    assert essence(first) == essence(second)
    assert first.spec.settings.normalization == "released"
    recipe = spec.settings.recipe.model_copy(update={"augmentation": Augmentation()})
    plain = cell(spec.settings.model_copy(update={"recipe": recipe}), "snip", options=spec.options)
    assert essence(run_cell(plain, colour))["curve"] != essence(first)["curve"]


def test_every_method_sees_the_same_draws_and_nothing_else_is_augmented(
    tiny: dict[str, Workload], colour: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = released(tiny).model_dump(exclude_defaults=True)
    asked = {"crop": 4, "flip": True, "erasing": 0.5}
    settings = Workload.model_validate(
        fields | {"recipe": fields["recipe"] | {"augmentation": asked}}
    )
    seen: dict[str, list[torch.Tensor]] = {}
    plain = []
    batch = Split.batch

    def watch(self: Split, at: Any, augmenter: Augmenter | None = None) -> Batch:
        found = batch(self, at, augmenter)
        if augmenter is None:
            plain.append(len(found[1]))
        else:
            seen[method].append(found[0])
        return found

    monkeypatch.setattr(splits_module.Split, "batch", watch)
    options = {"snip": {"start": 0.0, "stop": 0.0, "updates": 1, "samples": 30}}
    for method in ("dense", "snip", "magnitude"):
        seen[method] = []
        plain.clear()
        record = run_cell(cell(settings, method, options=options.get(method, {})), colour)
        assert record.status == "ok", record.message
        saliency = record.spent.get("saliency", 0)
        # warm-up 25, validation of two epochs and at the end, its batch for latencies, test: 20
        assert sum(plain) == 25 + 5 * 20 + saliency
        assert sum(map(len, seen[method])) == record.spent["training"] == 200 - saliency
    for one, other in zip(seen["dense"], seen["magnitude"], strict=True):
        assert torch.equal(one, other)
    for one, other in zip(seen["dense"], seen["snip"], strict=False):
        shared = min(len(one), len(other))
        assert torch.equal(one[:shared], other[:shared])
    assert not torch.equal(seen["dense"][0], seen["dense"][4]), "another epoch, other draws"


def test_what_is_not_asked_for_is_not_in_the_hash(tiny: dict[str, Workload]) -> None:
    canonical = cell(tiny["digits-snn"]).canonical()
    for field in ("augmentation", "normalization", "schedule", "floor", "step_every", "mse"):
        assert field not in canonical
    assert '"augmentation":{"crop":4' not in canonical
    assert "released" in cell(released(tiny)).canonical()
