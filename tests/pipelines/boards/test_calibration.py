"""The measured speed of training, and the input shapes and operations of a workload."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pipelines.boards.calibration import calibrate, cells_that_fit, input_shape
from pipelines.boards.params import Params
from pipelines.common.errors import BenchError
from pipelines.networks.network import Network


def test_the_batch_size_of_the_recipe_is_measured(params: Params) -> None:
    settings = params.workloads["digits-snn"]
    pace = calibrate(settings, (1, 8, 8), 10, torch.device("cpu"), 0.5)
    assert pace.batch == settings.recipe.batch_size
    assert 0 < pace.evaluation < pace.training
    assert pace.memory is None, "memory is that of a GPU"


def test_cells_share_the_memory_of_a_gpu() -> None:
    mib = 2**20
    # Nine tenths of 8192 MiB are 7372.8 MiB; a cell takes 700 + 288 + 512 MiB.
    assert cells_that_fit(8192 * mib, 700 * mib, 288 * mib) == 4
    assert cells_that_fit(8192 * mib, 700 * mib, 10_000 * mib) == 1, "one is tried"


def test_a_batch_that_does_not_fit_into_memory_is_not_measured(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, most = Network.forward, 16

    def forward(network: Network, inputs: Tensor) -> Tensor:
        if len(inputs) > most:
            raise torch.OutOfMemoryError
        return whole(network, inputs)

    monkeypatch.setattr(Network, "forward", forward)
    settings, here = params.workloads["digits-snn"], torch.device("cpu")
    assert calibrate(settings, (1, 8, 8), 10, here, 0.5).batch == 16
    most = 1
    with pytest.raises(BenchError, match=r"two samples .* does not fit into the memory"):
        calibrate(settings, (1, 8, 8), 10, here, 0.5)


def test_recordings_are_measured_as_frames(params: Params) -> None:
    settings = params.workloads["fashion-dvs"]
    assert settings.frames is not None
    assert input_shape(settings, (2, 34, 34)) == (2, 34, 34)
    scaled = settings.model_copy(update={"frames": settings.frames.model_copy(update={"scale": 4})})
    assert input_shape(scaled, (2, 34, 34)) == (2, 9, 9)
    assert calibrate(scaled, (2, 9, 9), 10, torch.device("cpu"), 0.2).training > 0


def test_images_keep_their_shape(params: Params) -> None:
    assert input_shape(params.workloads["digits-ann"], (1, 8, 8)) == (1, 8, 8)
