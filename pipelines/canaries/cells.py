"""The set of canaries, derived from the registry and from the settings.

A new method, granularity, neuron model, plan, or choice of a setting has canaries without an entry
in a list. Canaries are of two groups:

- Of each method: every granularity; an artificial network; the post-training track and a reinit
  control; an emergent run, if the method finds a density; a run at a target of SynOps, if it can
  aim at one; every choice of its options.
- Of workloads, with the method `REFERENCE`: all neuron models x images and events x plans, from
  scratch and after training; every choice of a setting; networks of factories; controls of every
  granularity.

All options and settings are defaults of the code, so neither params.yaml nor methods.yaml counts.
A choice that the method refuses at this granularity has the status ``failed``, and proves nothing.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from msgspec.structs import replace
from pydantic import BaseModel, ValidationError

from baselines.shared.info import Granularity, PrunerInfo
from pipelines.common.errors import InputError
from pipelines.methods.admission import refusal
from pipelines.methods.catalogue import infos, of_plugin
from pipelines.methods.registry import make, method
from pipelines.records.digest import Kind, kind_of
from pipelines.records.lineage import needs
from pipelines.settings.augmentation import Augmentation
from pipelines.settings.network import ARTIFICIAL, Execution, NetworkSpec, spiking_neurons
from pipelines.settings.spec import EMERGENT, SPATIO_TEMPORAL, SYNOPS, RunSpec
from pipelines.settings.workload import FineTuning, Frames, Recipe, Workload

#: Method of the canaries of workloads, and its granularity.
REFERENCE = "magnitude"
GRANULARITY: Granularity = "unstructured"
DENSITY = 0.4
#: Target of a canary that aims at SynOps: a little less than those at `DENSITY`.
TARGET_SYNOPS = 2000.0
TIME_STEPS = 2
LAYOUT = "6C3-MP2-8C3-MP2-48FC"
#: Tokens of layouts that `LAYOUT` has not: blocks, both shortcuts, strides, other pooling.
LAYOUTS = ("6C3-[6C3-6C3]-[8C3s2-8C3]-GAP", "4C3-MP3s2-[4C1-4C3-8C1]P-AP2-16FC")
#: Networks of factories, one that takes a step and one that takes a batch: name -> settings.
FACTORIES: dict[str, dict[str, Any]] = {
    "step": {"factory": "examples.snntorch_tutorial:network", "takes": "step"},
    "batch": {"factory": "examples.sew_resnet:network", "options": {"width": 4, "steps": 2}},
}
#: Data sets that need no download.
IMAGES, EVENTS = "digits", "digits-dvs"
#: Settings without a list of choices, which every canary of the name has besides the defaults.
NUMBERS: dict[str, dict[str, Any]] = {
    "augmented": {"augmentation": Augmentation(crop=1, flip=True, rotation=10.0, erasing=0.3)},
    "floor": {"floor": 0.002, "warmup": 0.0, "weight_decay": 0.0},
}


@dataclass(frozen=True)
class Canary:
    """One canary.

    Parameters
    ----------
    name
        What it is a canary of.
    spec
        Its cell.
    of_method
        Whether it belongs to the canaries of its method; if not, to those of workloads.
    """

    name: str
    spec: RunSpec
    of_method: bool

    @property
    def kind(self) -> Kind:
        """The kind of its cell."""
        return kind_of(self.spec)

    @property
    def covers(self) -> str:
        """What it is evidence for: one of `pipelines.records.lineage.needs` of its kind."""
        of_method, workload, *dense = needs(self.kind)
        if dense:
            of_method, workload = dense
        return of_method if self.of_method else workload


def workload(
    neuron: str = "leaky",
    data: str = IMAGES,
    plan: str = "fused",
    *,
    network: dict[str, Any] | None = None,
    recipe: dict[str, Any] | None = None,
    execution: dict[str, Any] | None = None,
    frames: dict[str, Any] | None = None,
    **more: Any,
) -> Workload:
    """Return the settings of a canary: a tiny network, and a budget of two epochs."""
    spiking = neuron != ARTIFICIAL
    kind = (
        {"kind": "snn", "neuron": neuron, "time_steps": TIME_STEPS} if spiking else {"kind": "ann"}
    )
    training = {
        "epochs": 2,
        "batch_size": 64,
        "optimizer": "adamw",
        "learning_rate": 0.01,
        "weight_decay": 0.001,
        "warmup": 0.1,
    }
    events = {"frames": Frames(**({"scale": 4} | (frames or {})))} if data == EVENTS else {}
    return Workload(
        data=data,
        network=NetworkSpec(**({"layout": LAYOUT} | kind | (network or {}))),
        recipe=Recipe(**(training | (recipe or {}))),
        execution=Execution(**({"plan": plan} | (execution or {}))),
        fine_tuning=FineTuning(epochs=1, learning_rate=0.003),
        **events,
        **more,
    )


def choices(annotation: Any, default: Any) -> Iterator[Any]:
    """Yield all values but the default of a type with finitely many: ``bool`` and ``Literal``."""
    if annotation is bool:
        yield not default
    elif get_origin(annotation) is Literal:
        yield from (value for value in get_args(annotation) if value != default)
    elif get_origin(annotation) in (Union, types.UnionType):
        for one in get_args(annotation):
            yield from choices(one, default)


def all_canaries() -> list[Canary]:
    """Return the whole set; every parent of a control is in it, before the control."""
    ours = [about for about in infos().values() if not of_plugin(about.name)]
    found = [one for about in ours for one in _of_method(about)]
    found += _of_workloads()
    found += _of_settings()
    found += _of_factories()
    found += _controls(ours)
    assert len({one.name for one in found}) == len(found)
    return found


def _cell(
    name: str,
    settings: Workload,
    method: str,
    granularity: Granularity,
    *,
    of_method: bool = True,
    **more: Any,
) -> Canary:
    track = more.get("track", "from-scratch")
    spec = RunSpec(
        workload="canary",
        settings=settings.of_track(track),
        method=method,
        granularity=granularity,
        density=more.pop("density", 1.0 if granularity == "none" else DENSITY),
        seed=0,
        **more,
    )
    return Canary(name, spec, of_method)


def _of_method(about: PrunerInfo) -> Iterator[Canary]:
    name, images = about.name, workload()
    for granularity in about.granularities:
        spiking = _cell(f"{name} {granularity}", images, name, granularity)
        yield spiking
        if about.emergent:
            yield _cell(
                f"{name} {granularity} emergent", images, name, granularity, density=EMERGENT
            )
        reinit = Canary(f"{spiking.name} reinit", replace(spiking.spec, control="reinit"), True)
        if refusal(reinit.spec) is None:
            yield reinit
    main, last = about.granularities[0], about.granularities[-1]
    if not about.needs_spikes:
        yield _cell(f"{name} {main} ann", workload(ARTIFICIAL, plan="folded"), name, main)
    if "post-training" in about.tracks:
        yield _cell(f"{name} {last} post-training", images, name, last, track="post-training")
    if about.aims_at_synops and main != SPATIO_TEMPORAL:
        aim: dict[str, Any] = {"density": SYNOPS, "synops": TARGET_SYNOPS}
        yield _cell(f"{name} {main} SynOps", images, name, main, **aim)
    # Where a choice needs single weights, a method that prunes units too can have them.
    fine: Granularity = GRANULARITY if GRANULARITY in about.granularities else last
    for option, value in option_choices(name):
        yield _cell(f"{name} {fine} {option}={value}", images, name, fine, options={option: value})


@cache
def option_choices(name: str) -> list[tuple[str, Any]]:
    """Return the options of a method with finitely many values, and each that is no default."""
    kind = method(name)
    hints = get_type_hints(kind)
    found = []
    for option in fields(kind):  # type: ignore[arg-type]
        for value in choices(hints[option.name], option.default):
            try:
                make(name, {option.name: value})
            except InputError:
                continue  # this value needs that of another option
            found.append((option.name, value))
    return found


def _of_workloads() -> Iterator[Canary]:
    plans = get_args(Execution.model_fields["plan"].annotation)
    for neuron in (*spiking_neurons(), ARTIFICIAL):
        for data, form in ((IMAGES, "images"), (EVENTS, "events")):
            for plan in plans:
                settings = workload(neuron, data, plan)
                for track in ("from-scratch", "post-training"):
                    yield _reference(f"{neuron} {form} {plan} {track}", settings, track=track)


def _reference(name: str, settings: Workload, **more: Any) -> Canary:
    return _cell(name, settings, REFERENCE, GRANULARITY, of_method=False, **more)


def _of_settings() -> Iterator[Canary]:
    """Canaries of every choice of a setting, and of numbers and layouts that defaults leave out."""
    groups: tuple[tuple[str, type[BaseModel], str], ...] = (
        ("network", NetworkSpec, IMAGES),
        ("recipe", Recipe, IMAGES),
        ("execution", Execution, IMAGES),
        ("frames", Frames, EVENTS),
        ("", Workload, IMAGES),
    )
    base = {"network": {"kind": "snn"}, "recipe": {"optimizer": "adamw"}, "execution": {"plan": ""}}
    for group, model, data in groups:
        for field, about in model.model_fields.items():
            default = base.get(group, {}).get(field, about.default)
            if field in ("kind", "plan"):
                continue  # `_of_workloads` has them
            for value in choices(about.annotation, default):
                change: dict[str, Any] = {field: value}
                try:
                    settings = workload(data=data, **({group: change} if group else change))
                except ValidationError:
                    continue  # this value is for another data set
                yield _reference(f"{field}={value}", settings)
    for name, recipe in NUMBERS.items():
        yield _reference(name, workload(recipe=recipe))
    for layout in LAYOUTS:
        changed = workload(network={"layout": layout})
        yield _cell(f"layout {layout}", changed, REFERENCE, "structured", of_method=False)


def _of_factories() -> Iterator[Canary]:
    """Canaries of networks that factories build: units and single weights are pruned."""
    granularities: tuple[Granularity, ...] = ("structured", "unstructured")
    for (name, network), granularity in zip(FACTORIES.items(), granularities, strict=True):
        one_epoch = {"epochs": 1}
        settings = workload(plan="folded", network={"layout": "", **network}, recipe=one_epoch)
        title = f"factory {name} {granularity}"
        yield _cell(title, settings, REFERENCE, granularity, of_method=False)


def _controls(ours: list[PrunerInfo]) -> Iterator[Canary]:
    """Shuffled controls of a canary of each granularity, the reference method's where it can."""
    by_name = sorted(ours, key=lambda about: about.name != REFERENCE)
    for granularity in get_args(Granularity):
        for about in by_name:
            if granularity not in about.granularities:
                continue
            cell = _cell("", workload(), about.name, granularity)
            control = replace(cell.spec, control="shuffled")
            if refusal(control) is None:
                name = f"{about.name} {granularity} shuffled"
                yield Canary(name, control, of_method=about.name != REFERENCE)
                break
