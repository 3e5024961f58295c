"""One cell: from a RunSpec to a RunRecord."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from msgspec.structs import replace

from baselines.shared.contract import PruneContext, Pruner, SynopsTarget
from baselines.shared.dependency_graph import remove_units, surviving_steps
from pipelines.common.errors import InputError, one_line
from pipelines.data import load_training
from pipelines.data.catalogue import size_of, without_test_split
from pipelines.data.events import binning_of
from pipelines.data.splits import TrainingData
from pipelines.methods.admission import check
from pipelines.methods.registry import make
from pipelines.networks.initial import build_network, build_structure, stream
from pipelines.networks.network import Network
from pipelines.records.checkpoint import (
    Checkpoint,
    checkpoint_path,
    dense_cell,
    read_checkpoint,
    write_checkpoint,
)
from pipelines.records.digest import code_digest, equal_digests, kind_of, require_unchanged
from pipelines.records.outcome import Cost, EpochPoint, Outcome
from pipelines.records.record import Environment, RunRecord, Status
from pipelines.records.stored_values import Packed
from pipelines.records.trajectory import Trajectory
from pipelines.settings.spec import RunSpec
from pipelines.settings.tolerance import off_target
from pipelines.training.budget import BudgetExceededError, BudgetMeter
from pipelines.training.controls import check_parent, follower
from pipelines.training.cost import latency, measure
from pipelines.training.environment import environment
from pipelines.training.evaluation import confusion_of, correct_of, evaluate, evaluate_test
from pipelines.training.guard import charged
from pipelines.training.isolation import Shared, no_exit
from pipelines.training.machine import find_device, keep_freed_memory, prefer_huge_pages
from pipelines.training.probe import NetworkProbe
from pipelines.training.resume import OutOfTime, Resume, Stopped, begin_again, go_on
from pipelines.training.schedule import learning_rate
from pipelines.training.synops_meter import SynopsMeter
from pipelines.training.trainer import DivergedError, Trainer, require_finite

if TYPE_CHECKING:
    from baselines.shared.groups import Structure
    from baselines.shared.masks import Masks
    from pipelines.networks.own import OwnNetwork

LATENCY_BATCHES = (1, 128)


@dataclass
class _Run:
    """A cell while it runs.

    Parameters
    ----------
    start
        The dense network that post-training begins with.
    parent
        The run that a control follows.
    on_epoch
        Called with the point of the curve after each epoch.
    on_masks
        Called with the trainer and the progress before new masks are applied.
    resume
        Where the state of the run is stored.

    Attributes
    ----------
    started_at
        Date and time of the start, UTC, before any interruption.
    earlier
        Time that the run took before it was interrupted, in s.
    """

    spec: RunSpec
    data_root: Path
    data: TrainingData
    meter: BudgetMeter
    start: Checkpoint | None = None
    parent: RunRecord | None = None
    on_epoch: Callable[[EpochPoint], None] | None = None
    on_masks: Callable[[Trainer, float], None] | None = None
    resume: Resume | None = None
    trainer: Trainer | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    start_time: float = field(default_factory=time.perf_counter)
    earlier: float = 0.0
    status: Status = "ok"
    message: str = ""

    def train(self) -> Trainer:
        """Train to the end of the budget, from the start or from where the run was interrupted."""
        self.trainer = trainer = self._interrupted() or self._begun(None)
        if self.resume is not None:
            trainer.before_step = partial(self.resume.before_step, trainer, self._times)
        if self.on_masks is not None:
            trainer.on_masks = partial(self.on_masks, trainer)
        self._warm_up()
        if self.on_epoch is not None:
            for point in trainer.result.curve:
                self.on_epoch(point)
        for point in trainer.epochs():  # the clock stands still in the body of this loop
            if self.on_epoch is not None:
                self.on_epoch(point)
        return trainer

    @property
    def seconds(self) -> float:
        """Time since the start, without the time between interruption and resume, in s."""
        return self.earlier + time.perf_counter() - self.start_time

    @property
    def environment(self) -> Environment:
        """The machine and the software."""
        spec = self.spec
        return environment(
            spec.threads, spec.settings.execution, self.data.device, spec.settings.network
        )

    def identify(self, code: str) -> None:
        """Say which resume point belongs to this run: none of other code, or from elsewhere."""
        if self.resume is not None:
            self.resume.identity = {
                "run_id": self.spec.run_id,
                "code_digest": code,
                "checkpoint": self.start.digest if self.start else "",
                "parent": self.parent.trajectory.digest if self.parent else "",
                "environment": self.environment.model_dump_json(),
            }

    def _times(self) -> dict[str, Any]:
        return {
            "started_at": self.started_at.isoformat(),
            "seconds": self.seconds,
            "random": _global_random(self.data.device).get_state(),
        }

    def _interrupted(self) -> Trainer | None:
        """Return the training loop of the run that was interrupted, if there is one."""
        packed = self.resume.read() if self.resume else None
        if packed is None:
            return None
        try:
            return self._begun(packed)
        except Exception as error:  # a method may do anything; the run starts again
            self.meter.phases.clear()
            print(
                f"warning: {self.spec.label()} starts again, because its resume point cannot be "
                f"read: {type(error).__name__}: {error}",
                file=sys.stderr,
            )
            return None

    def _begun(self, packed: Packed | None) -> Trainer:
        """Return the training loop at the start of the run, or with a stored state."""
        spec = self.spec
        pruner = self._pruner()
        granularity = "none" if spec.control == "reinit" else spec.granularity
        network = self._network()
        if self.start is not None:
            network.load_state_dict(self.start.state)
        structure = build_structure(network, granularity)
        context = PruneContext(
            structure,
            granularity,
            spec.target,
            stream(spec.seed, f"{spec.control or 'method'}:{spec.method}"),
            network.steps,
            _probe_of(network)(
                network,
                self.data.train,
                spec.recipe.batch_size,
                self.meter,
                stream(spec.seed, "saliency"),  # the same samples for every method
                spec.recipe.loss,
            ),
            partial(learning_rate, spec.recipe),
            self._synops_target(network),
        )
        if spec.settings.network.factory:
            seed = stream(spec.seed, "passes").initial_seed()
            _global_random(self.data.device).manual_seed(seed)  # for dropout
            anew = packed is None
            self._rehearse(cast("OwnNetwork", network), pruner, context, anew=anew)
        values: dict[str, Any] | None = None
        with charged(network, self.meter):
            if packed is None:
                pruner.begin(network, context)
            else:
                values = begin_again(pruner, network, context, packed)
        of_track = "" if self.start is None else " of fine-tuning"
        trainer = Trainer(
            network,
            pruner,
            structure,
            self.data,
            spec.recipe,
            self.meter,
            stream(spec.seed, f"batches{of_track}"),
            stream(spec.seed, f"augmentation{of_track}"),
            None if values is None else values["trainer"]["restarts"],
        )
        if values is not None:
            go_on(trainer, values)
            self.started_at = datetime.fromisoformat(values["times"]["started_at"])
            self.earlier = values["times"]["seconds"]
            _global_random(self.data.device).set_state(values["times"]["random"])
        return trainer

    def execute(self) -> Outcome:
        """Train, remove pruned units, use the test split once, and measure costs."""
        with without_test_split():
            trainer = self.train()
        network, structure = trainer.live.full, trainer.structure
        masks = trainer.result.masks
        inputs = self.data.validation.batch(slice(max(LATENCY_BATCHES)))[0]
        masked_latency = latency(network, inputs, LATENCY_BATCHES)
        _remove(network, structure, masks)
        compact_latency = latency(network, inputs, LATENCY_BATCHES)
        spec = self.spec
        validation = evaluate(network, self.data.validation, spec.recipe.loss)
        test = None if spec.tuning else evaluate_test(network, spec.settings, self.data_root)
        last = test or validation
        require_finite(last.loss, self.meter)
        cost = measure(network, structure, masks, last.activity, compact_latency, masked_latency)
        if spec.control == "reinit":
            cost = self._beside_parent(cost)
        elif message := off_target(spec, cost.density, cost.synops):
            self.status, self.message = "off-target", message
        return Outcome(
            test_accuracy=test.accuracy if test else None,
            test_loss=test.loss if test else None,
            validation_accuracy=validation.accuracy,
            layout=network.layout,
            cost=cost,
            confusion=confusion_of(test),
            correct=correct_of(test),
        )

    def check_network(self) -> None:
        """Build the network of a factory, and find its units, so that a fault is found now.

        Raises
        ------
        InputError
            If the network cannot be measured, its units cannot be removed, or it keeps state where
            an interruption loses it.
        """
        from pipelines.training.own_rehearsal import require_whole_state

        build_structure(self._network(), self.spec.granularity)
        inputs = self.data.train.batch(slice(4))[0]
        require_whole_state(self._network, inputs, _global_random(self.data.device))

    def _rehearse(
        self, network: OwnNetwork, pruner: Pruner, context: PruneContext, *, anew: bool
    ) -> None:
        from pipelines.training.own_rehearsal import rehearse_method

        if anew and not self.spec.control:
            rehearse_method(network, pruner, context, self.data.train)
        network.observed = pruner.info.needs_activity

    def _pruner(self) -> Pruner:
        if self.parent is None:
            return check(self.spec)
        if self.spec.control == "shuffled":
            return follower(self.parent.trajectory)
        return make("dense", {})  # `reinit` trains the final layout of the parent

    def _synops_target(self, network: Network) -> SynopsTarget | None:
        if self.spec.synops is None or self.spec.control:
            return None
        return SynopsTarget(self.spec.synops, SynopsMeter(network, self.data.validation))

    def _network(self) -> Network:
        settings, network = self.spec.settings, self.spec.settings.network
        if self.spec.control == "reinit" and self.parent and self.parent.outcome:
            network = network.model_copy(update={"layout": self.parent.outcome.layout})
        return build_network(
            network,
            self.data.input_shape,
            self.data.classes,
            self.spec.seed,
            settings.execution,
            timed=has_time(self.data),
        ).to(self.data.device)

    def _warm_up(self) -> None:
        """Run a copy of the network once, so that the clock does not time first-call work."""
        generator, copy = _global_random(self.data.device), self._network()
        state = generator.get_state()
        copy(self.data.train.batch(slice(self.spec.recipe.batch_size))[0]).sum().backward()
        generator.set_state(state)

    def _beside_parent(self, cost: Cost) -> Cost:
        """Count the density of a small network in weights of the dense one."""
        assert self.parent is not None
        assert self.parent.outcome is not None
        whole = self.parent.outcome.cost.prunable
        return replace(cost, density=cost.prunable / whole, prunable=whole)


def has_time(data: TrainingData) -> bool:
    """Whether the samples of a data set have a time axis."""
    return data.validation.batch(slice(1))[0].dim() == 5


def _global_random(device: torch.device) -> torch.Generator:
    """Return the generator that modules of a factory draw from, such as dropout."""
    if device.type == "cuda":
        return torch.cuda.default_generators[device.index or 0]
    return torch.default_generator


def _probe_of(network: Network) -> type[NetworkProbe]:
    if not network.spec.factory:
        return NetworkProbe
    from pipelines.training.own_probe import OwnProbe

    return OwnProbe


def _remove(network: Network, structure: Structure, masks: Masks) -> None:
    """Remove pruned units from the modules of a network, in place."""
    if network.spec.factory:
        cast("OwnNetwork", network).remove(masks)
        return
    remove_units(structure, masks)
    network.silence(surviving_steps(structure, masks))


def _enter(spec: RunSpec, data_root: Path) -> TrainingData:
    """Set up this process for a cell, and read the data set."""
    require_unchanged(spec)
    device = find_device(spec.device)
    torch.set_num_threads(spec.threads)
    prefer_huge_pages()
    keep_freed_memory()
    asked = spec.settings
    return load_training(
        asked.data, data_root, binning_of(asked), asked.normalization, asked.recipe.augmentation
    ).to(device)


def _start(
    spec: RunSpec,
    data: TrainingData,
    data_root: Path,
    folder: Path,
    resume: Resume | None = None,
) -> Checkpoint:
    """Return the dense network that a post-training cell starts from; train it if it is missing."""
    dense, path = dense_cell(spec), checkpoint_path(folder, spec)
    found = read_checkpoint(path, dense.run_id, equal_digests(kind_of(dense)))
    if found is None:
        run = _Run(dense, data_root, data, BudgetMeter(dense.settings.budget(len(data.train))))
        if resume is not None:
            run.resume = resume.beside(f"{dense.run_id}-checkpoint")
            run.identify(code_digest(dense))
        try:
            state = run.train().live.full.state_dict()
        except DivergedError as error:
            raise DivergedError(f"the dense checkpoint diverged: {error}") from error
        found = write_checkpoint(path, state, dense.run_id, code_digest(dense))
        if run.resume is not None:
            run.resume.remove()
    return found


def make_start(spec: RunSpec, data_root: Path, folder: Path, resume: Resume | None = None) -> None:
    """Train the dense network that a post-training cell starts from, unless it exists.

    If the training diverges, no file is written: each cell tries again and has the status diverged.
    """
    with suppress(DivergedError):
        _start(spec, _enter(spec, data_root), data_root, folder, resume)


def _begin(spec: RunSpec, data_root: Path, parent: RunRecord | None) -> _Run:
    data = _enter(spec, data_root)
    meter = BudgetMeter(spec.settings.budget(len(data.train), spec.track))
    run = _Run(spec, data_root, data, meter, parent=parent)
    if spec.settings.network.factory:
        run.check_network()
    return run


def final_network(
    spec: RunSpec,
    data_root: Path,
    checkpoints: Path | None = None,
    parent: RunRecord | None = None,
    on_masks: Callable[[Trainer, float], None] | None = None,
) -> tuple[Network, Outcome, Status]:
    """Run one cell and return its final network; unlike `run_cell`, raise the errors of the run.

    Parameters
    ----------
    spec, data_root, checkpoints, parent
        As for `run_cell`.
    on_masks
        Called with the trainer and the progress when the method has given new masks, before they
        are applied. It must not change the run.
    """
    check_parent(spec, parent)
    run = _begin(spec, data_root, parent)
    run.on_masks = on_masks
    if spec.track == "post-training" and checkpoints is not None:
        run.start = _start(spec, run.data, data_root, checkpoints)
    outcome = run.execute()
    assert run.trainer is not None
    return run.trainer.live.full.eval(), outcome, run.status


def _described(error: BaseException) -> str:
    """Return type, place and text of an error of a method, in one line that can be stored."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    try:
        text = str(error)
    except Exception:  # its text is code of the method, too
        text = "(no text)"
    return one_line(f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}: {text}")


def run_cell(
    spec: RunSpec,
    data_root: Path,
    checkpoints: Path | None = None,
    parent: RunRecord | None = None,
    on_epoch: Callable[[EpochPoint], None] | None = None,
    resume: Resume | None = None,
) -> RunRecord:
    """Run one cell and return its record; an error during the run is a status of the record.

    Parameters
    ----------
    spec
        The cell.
    data_root
        Folder of fetched data sets.
    checkpoints
        Folder of dense networks, which a post-training cell needs.
    parent
        Record of the cell that a control follows.
    on_epoch
        Called with the point of the curve after each epoch, outside of the measured time. It must
        not raise. Of a run that goes on, it gets the points before the interruption first.
    resume
        Where the state of the run is stored. If the run was interrupted, it goes on from there.

    A method may do anything: its failure is a row, not a crash. A run that changed the state that
    cells share (`pipelines.training.isolation`) has failed too, and the state is restored.

    Raises
    ------
    InputError
        If the cell cannot be run at all.
    KeyboardInterrupt
        After Ctrl-C.
    Stopped, OutOfTime
        If the process is asked to end, or the time limit has passed; see `resume`.
    BenchError
        If code of the cell was changed on disk after this process had imported it.
    """
    check(spec)
    check_parent(spec, parent)
    if spec.track == "post-training" and checkpoints is None:
        raise InputError("a post-training cell needs a folder of dense checkpoints.")
    digest = code_digest(spec)
    started_at, start_time = datetime.now(UTC), time.perf_counter()
    run, outcome = _begin(spec, data_root, parent), None
    run.started_at, run.start_time = started_at, start_time
    run.on_epoch, run.resume = on_epoch, resume
    shared = Shared.now()
    try:
        with no_exit():
            if spec.track == "post-training" and checkpoints is not None:
                run.start = _start(spec, run.data, data_root, checkpoints, resume)
            run.identify(digest)
            outcome = run.execute()
    except DivergedError as error:
        run.status, run.message = "diverged", str(error)
    except BudgetExceededError as error:
        run.status, run.message = "over-budget", str(error)
    except (KeyboardInterrupt, Stopped, OutOfTime):
        shared.restore()
        raise
    except BaseException as error:  # SystemExit, too
        run.status, run.message = "failed", _described(error)
    if changed := shared.restore():
        run.status, outcome = "failed", None
        run.message = one_line(
            f"the run changed what all cells share: {', '.join(changed[:5])}; leave it as it is."
        )
    training = run.trainer.result if run.trainer else None
    return RunRecord(
        run_id=spec.run_id,
        spec=spec,
        status=run.status,
        message=run.message,
        outcome=outcome,
        curve=training.curve if training else [],
        budget=run.meter.budget,
        spent=dict(run.meter.phases),
        started_at=run.started_at,
        train_seconds=training.seconds if training else 0.0,
        total_seconds=run.seconds,
        trajectory=run.trainer.trajectory if run.trainer else Trajectory(),
        parent=parent.trajectory.digest if parent else "",
        checkpoint=run.start.digest if run.start else "",
        environment=run.environment,
        interruptions=training.interruptions if training else 0,
        code_digest=digest,
        code_digest_end=code_digest(spec),
    )


def failed_record(spec: RunSpec, data_root: Path, message: str, started_at: datetime) -> RunRecord:
    """Return the record of a run whose process ended before its end.

    Parameters
    ----------
    spec, data_root
        As for `run_cell`.
    message
        Why there is no outcome.
    started_at
        When the run started, with its time zone.
    """
    digest, seconds = code_digest(spec), (datetime.now(UTC) - started_at).total_seconds()
    size = size_of(spec.settings.data, data_root).train
    return RunRecord(
        run_id=spec.run_id,
        spec=spec,
        status="failed",
        message=message,
        budget=spec.settings.budget(size, spec.track),
        started_at=started_at,
        train_seconds=0.0,
        total_seconds=seconds,
        environment=environment(
            spec.threads, spec.settings.execution, find_device(spec.device), spec.settings.network
        ),
        code_digest=digest,
        code_digest_end=digest,
    )
