"""Resume: an interrupted run goes on where it was stored, and ends in the same record.

The state of a run is stored every few minutes, and when the process is asked to end (SIGTERM,
Ctrl-C) or to store (SIGUSR1, which SLURM can send before a time limit). Random numbers, masks and
weights are those of a run without an interruption, to the last bit.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

import torch
from torch import nn

from baselines.shared.contract import PruneContext, Pruner
from pipelines.common.errors import BenchError
from pipelines.records.resume_point import read_resume_point, write_resume_point
from pipelines.records.stored_values import Packed, StateError, pack, unpack
from pipelines.training.probe import NetworkProbe
from pipelines.training.trainer import Trainer

#: Time between two resume points of a run, in s.
EVERY = 300.0
#: A second signal to end within this time is the first one, which reached the process twice, in s.
TWICE = 1.0


class Stopped(BaseException):
    """The process was asked to end; the state of the run is stored."""


class OutOfTime(BaseException):
    """The time limit of a run has passed; its state is stored."""


class Signals:
    """Notes signals while a run trains, so that it can end between two training steps.

    A context manager. On exit, a signal that asks to end is sent again, to the handler of before.
    A second signal does not wait for the end of the step. Outside of the main thread, which gets
    all signals of a process, nothing is noted.
    """

    ENDING = (signal.SIGTERM, signal.SIGINT)

    def __init__(self) -> None:
        self.store = False
        self.ending: int | None = None
        self._asked = 0.0
        self._other: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            asked = [getattr(signal, n, None) for n in ("SIGTERM", "SIGINT", "SIGUSR1")]
            self._before = {n: signal.signal(n, self._note) for n in asked if n is not None}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._restore()
        if self.ending is not None and (kind is None or kind is Stopped):
            signal.raise_signal(self.ending)

    @contextmanager
    def passed_on(self, process: int) -> Iterator[None]:
        """Pass signals on to another process, which notes them, too."""
        self._other = process
        try:
            if self.store:
                os.kill(process, self.ending or signal.SIGUSR1)
            yield
        finally:
            self._other = None

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.ending is not None and number in self.ENDING:
            if time.monotonic() - self._asked < TWICE:
                return
            self._restore()
            signal.raise_signal(number)
        self.store = True
        if number in self.ENDING:
            self.ending, self._asked = number, time.monotonic()
        if self._other is not None:
            os.kill(self._other, number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}


@dataclass
class Resume:
    """Where and when the state of a run is stored.

    Parameters
    ----------
    path
        The file of the resume point.
    signals
        Signals that ask to store the state, or to end.
    every
        Time between two resume points, in s.
    limit
        Time limit, in s, counted from here; None: there is none.

    Attributes
    ----------
    identity
        What the run depends on; a resume point with another identity is ignored.
    """

    path: Path
    signals: Signals = field(default_factory=Signals)
    every: float = EVERY
    limit: float | None = None
    identity: dict[str, str] = field(default_factory=dict, init=False)
    _start: float = field(default_factory=time.monotonic, init=False)
    _last: float = field(default_factory=time.monotonic, init=False)
    _possible: bool = field(default=True, init=False)

    def beside(self, name: str) -> Resume:
        """Return the resume point of another run, in the same folder."""
        path = self.path.with_name(f"{name}.safetensors")
        return Resume(path, self.signals, self.every, self.limit)

    def read(self) -> Packed | None:
        """Return the state of the run, if it was interrupted."""
        return read_resume_point(self.path, self.identity)

    def before_step(self, trainer: Trainer, times: Callable[[], Mapping[str, Any]]) -> None:
        """Store the state of the run if it is time to.

        Raises
        ------
        Stopped
            If the process is asked to end.
        OutOfTime
            If the time limit has passed.
        """
        now = time.monotonic()
        over = self.limit is not None and now - self._start >= self.limit
        if not (over or self.signals.store or now - self._last >= self.every):
            return
        self.signals.store = False
        if self._possible:
            trainer.stop_clock()
            self._write(trainer, times())
            trainer.start_clock()
        if self.signals.ending is not None:
            raise Stopped
        if over:
            raise OutOfTime
        self._last = time.monotonic()

    def _write(self, trainer: Trainer, times: Mapping[str, Any]) -> None:
        try:
            write_resume_point(self.path, self.identity, state_of(trainer, times))
        except Exception as error:  # code of the method, memory, the disk: the run is not harmed
            self._possible = isinstance(error, BenchError)  # the disk may have space later
            known = isinstance(error, BenchError | StateError)
            why = error if known else f"{type(error).__name__}: {error}"
            print(f"warning: the state of this run is not stored: {why}", file=sys.stderr)

    def remove(self) -> None:
        """Delete the resume point, if there is one: the run has ended."""
        self.path.unlink(missing_ok=True)


def state_of(trainer: Trainer, times: Mapping[str, Any] | None = None) -> Packed:
    """Return the whole state of a run between two training steps.

    Parameters
    ----------
    trainer
        The training loop of the run.
    times
        To store with the state.

    Raises
    ------
    StateError
        If the method keeps something that cannot be stored; the message names method and attribute.
    """
    pruner = trainer.pruner
    context = pruner.context
    values = {
        "trainer": trainer.state_dict(),
        "spent": dict(trainer.meter.phases),
        "generators": [generator.get_state() for generator in _generators(context)],
        "paid": context.probe.paid if isinstance(context.probe, NetworkProbe) else [],
        "search": context.synops.state_dict() if context.synops else {},
        "times": dict(times or {}),
    }
    known = _known(pruner)
    try:
        method = dict(pruner.state_dict())
        return pack({**values, "method": method}, known, _packages(pruner))
    except StateError as error:
        where = re.sub(r"^method\['(\w+)'\]", r"its attribute \1", str(error))
        raise StateError(
            f"method '{pruner.info.name}' cannot be stored: {where}. Leave it out in "
            "state_dict(), and make it again in load_state_dict()."
        ) from error


def begin_again(
    pruner: Pruner, network: nn.Module, context: PruneContext, packed: Packed
) -> dict[str, Any]:
    """Give a new object of a method the stored state, instead of calling its `begin`.

    Returns
    -------
    dict
        All stored values, for `go_on`.
    """
    Pruner.begin(pruner, network, context)
    values: dict[str, Any] = unpack(packed, _known(pruner), _packages(pruner))
    pruner.load_state_dict(values["method"])
    return values


def go_on(trainer: Trainer, values: Mapping[str, Any]) -> None:
    """Give a new training loop, of the method that `begin_again` was given, the stored state."""
    context = trainer.pruner.context
    trainer.load_state_dict(values["trainer"])
    for generator, state in zip(_generators(context), values["generators"], strict=True):
        generator.set_state(state)
    if isinstance(context.probe, NetworkProbe):
        context.probe.paid = values["paid"]
    if context.synops is not None:
        context.synops.load_state_dict(values["search"])
    trainer.meter.phases.update(values["spent"])


def _generators(context: PruneContext) -> list[torch.Generator]:
    probe = context.probe
    return [context.generator, *([probe.generator] if isinstance(probe, NetworkProbe) else [])]


def _known(pruner: Pruner) -> dict[str, Any]:
    """Objects that a new run has, too: a method may hold references to them."""
    network, context = pruner.network, pruner.context
    structure = context.structure
    named: dict[str, Any] = {"method": pruner, "network": network, "context": context}
    named |= {
        f"context.{name}": value for name, value in vars(context).items() if name != "density"
    }
    named |= {f"layer {layer.name}": layer for layer in structure.layers}
    named |= {f"group {group.name}": group for group in structure.groups}
    named |= {f"module {name}": module for name, module in network.named_modules() if name}
    named |= {f"parameter {name}": value for name, value in network.named_parameters()}
    named |= {f"buffer {name}": value for name, value in network.named_buffers()}
    plain = (str, int, float, bool, type(None))
    return {name: value for name, value in named.items() if not isinstance(value, plain)}


def _packages(pruner: Pruner) -> set[str]:
    """Top-level package of each class that the method is made of."""
    modules = {kind.__module__.partition(".")[0] for kind in type(pruner).__mro__}
    return modules - {"builtins"}
