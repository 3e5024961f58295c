"""One cell: from a RunSpec to a RunRecord."""

from __future__ import annotations

import hashlib
import time
import traceback
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import torch

from baselines.api import PruneContext, Pruner
from baselines.groups import Structure, weight_structure
from baselines.structured import remove_units, surviving_steps, unit_structure
from pipelines.core.budget import BudgetExceededError, BudgetMeter
from pipelines.core.code import code_digest
from pipelines.core.cost import latency, measure
from pipelines.core.data import load_training
from pipelines.core.data.splits import TrainingData
from pipelines.core.device import find_device
from pipelines.core.errors import InputError
from pipelines.core.evaluate import evaluate, evaluate_test
from pipelines.core.layouts import Execution, NetworkSpec
from pipelines.core.memory import keep_freed_memory, prefer_huge_pages
from pipelines.core.methods import make
from pipelines.core.networks import READOUT, Network, first_step
from pipelines.core.probe import NetworkProbe
from pipelines.core.rates import learning_rate
from pipelines.core.record import Outcome, RunRecord, Status, environment
from pipelines.core.spec import EMERGENT, RunSpec
from pipelines.core.train import DivergedError, Trainer, require_finite

#: Allowed distance from the target density: whole units are coarser than single weights.
TOLERANCE = {
    "none": 0.0,
    "structured": 0.02,
    "unstructured": 0.005,
    "hybrid": 0.005,
    "spatio-temporal": 0.005,
}
LATENCY_BATCHES = (1, 128)


def check(spec: RunSpec) -> Pruner:
    """Build the method of a cell, or say why the cell cannot be run.

    Raises
    ------
    InputError
        If the method is unknown, or cannot do what the cell asks for.
    """
    pruner = make(spec.method, spec.options)
    info = pruner.info
    if spec.granularity not in info.granularities:
        can = ", ".join(info.granularities)
        raise InputError(f"method '{info.name}' prunes {can}, not {spec.granularity}.")
    if spec.track not in info.tracks:
        raise InputError(f"method '{info.name}' does not enter the track {spec.track}.")
    if spec.density == EMERGENT and not info.emergent:
        raise InputError(f"method '{info.name}' finds no density of its own; give --density.")
    if info.needs_spikes and spec.settings.network.kind != "snn":
        raise InputError(f"method '{info.name}' needs spikes; {spec.workload} has none.")
    if spec.granularity == "none" and spec.density != 1:
        raise InputError(f"method '{info.name}' prunes nothing; its density is 1.")
    return pruner


def stream(seed: int, name: str) -> torch.Generator:
    """Return a generator of its own for each purpose; paired across methods by the seed."""
    value = int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:7], "big")
    return torch.Generator().manual_seed(value)


def build_network(
    spec: NetworkSpec,
    shape: tuple[int, int, int],
    classes: int,
    seed: int,
    execution: Execution = Execution(),  # noqa: B008 -- frozen
) -> Network:
    """Build the initial network of a seed; the global random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, "network").initial_seed())
        return Network(spec, shape, classes, execution)


def build_structure(network: Network, granularity: str) -> Structure:
    """What can be pruned at a granularity."""
    if granularity in ("none", "unstructured"):
        return weight_structure(network, READOUT)
    example = next(network.parameters()).new_zeros(1, *network.input_shape)
    return unit_structure(network, READOUT, example, first_step)


@dataclass
class _Run:
    """A cell while it runs."""

    spec: RunSpec
    data_root: Path
    data: TrainingData
    meter: BudgetMeter
    trainer: Trainer | None = None
    status: Status = "ok"
    message: str = ""

    def execute(self) -> Outcome:
        """Train, remove, evaluate once, measure."""
        spec = self.spec
        pruner = check(spec)
        network = self._network()
        structure = build_structure(network, spec.granularity)
        recipe = spec.settings.recipe
        context = PruneContext(
            structure,
            spec.granularity,
            spec.target,
            stream(spec.seed, f"method:{spec.method}"),
            network.steps,
            NetworkProbe(
                network,
                self.data.train,
                recipe.batch_size,
                self.meter,
                stream(spec.seed, "saliency"),  # the same samples for every method
            ),
            partial(learning_rate, recipe),
        )
        pruner.begin(network, context)
        self.trainer = Trainer(
            network,
            pruner,
            structure,
            self.data,
            recipe,
            self.meter,
            stream(spec.seed, "batches"),
        )
        self._warm_up()
        training = self.trainer.run()
        inputs = self.data.validation.inputs
        masked_latency = latency(network, inputs, LATENCY_BATCHES)
        remove_units(structure, training.masks)
        network.silence(surviving_steps(structure, training.masks))
        compact_latency = latency(network, inputs, LATENCY_BATCHES)
        validation = evaluate(network, self.data.validation)
        test = None if spec.tuning else evaluate_test(network, spec.settings.data, self.data_root)
        last = test or validation
        require_finite(last.loss, self.meter)
        cost = measure(
            network, structure, training.masks, last.activity, compact_latency, masked_latency
        )
        self._check_density(cost.density)
        return Outcome(
            test_accuracy=test.accuracy if test else None,
            test_loss=test.loss if test else None,
            validation_accuracy=validation.accuracy,
            layout=network.layout,
            cost=cost,
        )

    def _network(self) -> Network:
        settings = self.spec.settings
        return build_network(
            settings.network,
            self.data.input_shape,
            self.data.classes,
            self.spec.seed,
            settings.execution,
        ).to(self.data.device)

    def _warm_up(self) -> None:
        """Run a twin of the network once, so that the clock does not time first-call work."""
        twin = self._network()
        batch = self.data.train.inputs[: self.spec.settings.recipe.batch_size]
        twin(batch).sum().backward()

    def _check_density(self, density: float) -> None:
        target = self.spec.target
        if target is not None and abs(density - target) > TOLERANCE[self.spec.granularity]:
            self.status = "off-target"
            self.message = f"density {density:.4f} instead of {target}"


def run_cell(spec: RunSpec, data_root: Path) -> RunRecord:
    """Run one cell; whatever happens in it becomes a record.

    Parameters
    ----------
    spec
        The cell.
    data_root
        Folder of fetched data sets.

    Raises
    ------
    InputError
        If the cell cannot be run at all.
    """
    check(spec)
    device = find_device(spec.device)
    digest = code_digest(spec.method)
    torch.set_num_threads(spec.threads)
    prefer_huge_pages()
    keep_freed_memory()
    started_at, start = datetime.now(UTC), time.perf_counter()
    data = load_training(spec.settings.data, data_root).to(device)
    budget = spec.settings.budget(len(data.train))
    run = _Run(spec, data_root, data, BudgetMeter(budget))
    outcome = None
    try:
        outcome = run.execute()
    except DivergedError as error:
        run.status, run.message = "diverged", str(error)
    except BudgetExceededError as error:
        run.status, run.message = "over-budget", str(error)
    except Exception as error:  # a method may do anything: its failure is a row, not a crash
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.lineno}"
        run.status, run.message = "failed", f"{type(error).__name__} at {place}: {error}"
    training = run.trainer.result if run.trainer else None
    return RunRecord(
        run_id=spec.run_id,
        spec=spec,
        status=run.status,
        message=run.message,
        outcome=outcome,
        curve=training.curve if training else [],
        budget=budget.samples,
        spent=dict(run.meter.phases),
        started_at=started_at,
        train_seconds=training.seconds if training else 0.0,
        total_seconds=time.perf_counter() - start,
        environment=environment(
            spec.threads, spec.settings.execution, device, spec.settings.network
        ),
        code_digest=digest,
        code_digest_end=code_digest(spec.method),
    )
