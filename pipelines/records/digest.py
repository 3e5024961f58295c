"""Digest of the code that a cell depends on; it shows which records are out of date.

It covers the modules that the run of the cell reaches by imports, with what they mean
(`pipelines.records.syntax`), as this process has imported them (`pipelines.common.imported`).
Where a module is chosen by its name, a rule of this file says which one the cell uses:

==================  =========================================================================
of a cell           modules
==================  =========================================================================
method              its own; a plug-in whole, and those of its base classes
data set            its reader, and its entry in the table of data sets
neuron model        its own
plan and device     ``fused`` of the device, if that plan is asked for; `folded` and `step` are
                    shared by all
post-training, and  the method ``dense`` too, which trains the network
reinit controls
factory             its module, and what that imports of the same project or package; the modules
                    of ours that run a network or data set of the user's own
image folder        what its files hold
==================  =========================================================================
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from pipelines.common.errors import BenchError, unknown
from pipelines.common.imported import content, edition, read
from pipelines.data.catalogue import SOURCES
from pipelines.methods import catalogue
from pipelines.methods.plugins import plugins, source_files
from pipelines.records.lineage import ROW, Code, meanings_digest, read_lineage
from pipelines.records.record import RunRecord
from pipelines.records.syntax import Syntax, read_c, read_python
from pipelines.records.user_modules import UserModules
from pipelines.settings.network import ARTIFICIAL, spiking_neurons
from pipelines.settings.own_data import own_data
from pipelines.settings.spec import RunSpec

#: Folder of our packages, as imports spell it: symbolic links are kept.
ROOT = Path(__file__).parents[2]
PACKAGES = frozenset(("baselines", "dpap", "pipelines"))
#: Paths of what belongs to no method.
SHARED = ("baselines/__init__.py", "baselines/shared/", "pipelines/")
#: Runs a cell; everything that all cells share is imported from here.
#: It also imports this module, which changes no result.
CELL = "pipelines.training.cell"
#: Has the table of data sets, of which a cell uses one entry.
DATA, TABLE = "pipelines.data.catalogue", "SOURCES"
_CATALOGUE = "pipelines/data/catalogue.py"
#: Modules that run networks of factories, and those that import them for these alone.
OWN_NETWORK = (
    "pipelines.networks.own",
    "pipelines.training.own_probe",
    "pipelines.training.own_rehearsal",
)
OF_FACTORIES = (CELL, "pipelines.networks.initial")
#: Reads data sets of the user's own.
OWN_DATA = "pipelines.data.own"
#: The package of DPAP offers `attach` for other loops, which no cell uses.
SURFACE, ATTACHMENT = "dpap", "dpap.attachment"
#: Chooses a plan, and imports what the plan ``fused`` needs on each device.
PLANS = "pipelines.networks.plans.choice"
FUSED = {
    "cpu": frozenset(("pipelines.kernels.cpu.norm_scan", "pipelines.networks.plans.fused_cpu")),
    "cuda": frozenset(("pipelines.kernels.gpu.scan", "pipelines.networks.plans.fused_gpu")),
}


class Kind(NamedTuple):
    """What decides which code a cell uses; cells of a kind have the same digest.

    Parameters
    ----------
    method, data, neuron
        Names of the method, the data set and the neuron model.
    plan, device
        What the cell asks for.
    dense
        Whether the method ``dense`` takes part, besides `method`.
    factories
        Names of the factories of the network and of the data set.
    content
        Digest of the files of the user's own data set.
    """

    method: str
    data: str
    neuron: str
    plan: str
    device: str
    dense: bool
    factories: tuple[str, ...] = ()
    content: str = ""


class Part(NamedTuple):
    """A file that a digest covers, and how to read its content."""

    file: Path
    read: Callable[[bytes], Syntax]


def kind_of(spec: RunSpec) -> Kind:
    """Return the kind of a cell."""
    settings = spec.settings
    own = own_data(settings.data)
    factories = (settings.network.factory, own.factory if own else "")
    return Kind(
        spec.method,
        settings.data,
        settings.network.neuron_model,
        settings.execution.plan,
        spec.device,
        spec.track == "post-training" or spec.control == "reinit",
        tuple(name for name in factories if name),
        _content(settings.data) if own else "",
    )


def _content(data: str) -> str:
    from pipelines.data.own import content as content_of  # imports torch

    return content_of(data)


def code_digest(spec: RunSpec) -> str:
    """Return the digest of the code that the run of a cell depends on.

    It is that of the code which this process has imported. Modules that it has not imported count
    as they are on disk when they are first asked for.

    Raises
    ------
    InputError
        If there is no such method or data set.
    """
    return kind_digest(kind_of(spec))


def kind_digest(kind: Kind) -> str:
    """Return the digest of the code of a kind of cells; see `code_digest`."""
    return _digest(kind, edition())


def joint_digest(kinds: Iterable[Kind]) -> str:
    """Return one digest for several kinds of cells, in any order.

    It stays the same when the code changes and the canaries prove equal outcomes: of each kind, the
    oldest of its `equal_digests` counts.
    """
    digests = sorted({equal_digests(kind)[0] for kind in kinds})
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def data_digest(name: str) -> str:
    """Return the digest of the reader of a data set.

    Raises
    ------
    InputError
        If there is no such data set.
    """
    if name not in SOURCES:
        raise unknown("data set", name, SOURCES)
    reach = _Reach(Kind("", name, "", "", "", dense=False), content)
    reach.follow([f"pipelines.data.sets.{SOURCES[name].module}", DATA])
    return digest_of(reach.found)


def is_current(record: RunRecord) -> bool:
    """Whether the code of this process made a record, or code of proven equal outcomes.

    Raises
    ------
    InputError
        If there is no such method or data set.
    BenchError
        If the lineage cannot be read, or was edited.
    """
    return record.code_digest in equal_digests(kind_of(record.spec))


def equal_digests(kind: Kind) -> Sequence[str]:
    """Return the digests of the code that gives the outcomes of the present code, oldest first.

    It is the digest of the present code, and those of earlier versions of which the canaries have
    proven it (`pipelines.records.lineage`).

    Raises
    ------
    InputError
        If there is no such method or data set.
    BenchError
        If the lineage cannot be read, or was edited.
    """
    digest = kind_digest(kind)
    return read_lineage(ROOT).same(kind, digest)


def code_now() -> Code:
    """Return the code of this process in sections: of all methods that are no plug-ins.

    For every kind of cells, ``code_now().digest(kind)`` is its `kind_digest`.
    """
    nothing = Kind("", "", "", "folded", "cpu", dense=False)
    sections = {"cell": _section(nothing, CELL, {})}
    shared = sections["cell"]
    shared.pop(_CATALOGUE)
    for device in FUSED:
        fused = nothing._replace(plan="fused", device=device)
        sections[f"plan fused {device}"] = _section(fused, CELL, shared)
        sections[f"plan fused {device}"].pop(_CATALOGUE)
    for data, source in SOURCES.items():
        reader = f"pipelines.data.sets.{source.module}"
        found = _section(nothing._replace(data=data), reader, shared, DATA)
        sections[f"data {data}"] = {
            f"{name}{ROW}{data}" if name == _CATALOGUE else name: found[name] for name in found
        }
    for neuron in (*spiking_neurons(), ARTIFICIAL):
        module = f"pipelines.networks.neurons.{neuron}"
        sections[f"neuron {neuron}"] = _section(nothing, module, shared)
    for method in catalogue.infos():
        file = Path(catalogue.source(method))
        if file.parts[0] in PACKAGES and file.suffix:
            module = ".".join(file.with_suffix("").parts)
            sections[f"method {method}"] = _section(nothing, module, shared)
    files = {name: meaning for found in sections.values() for name, meaning in found.items()}
    return Code(files=files, sections={name: sorted(found) for name, found in sections.items()})


def _section(kind: Kind, root: str, shared: Container[str], *more: str) -> dict[str, str]:
    """Return what the files mean that a module reaches: those that are not shared, and its own."""
    reach = _Reach(kind, content)
    reach.follow([root, *more])
    own = {f"{root.replace('.', '/')}.py", _CATALOGUE}
    return {
        name: part.read(content(part.file) or b"").meaning
        for name, part in reach.found.items()
        if name in own or name not in shared
    }


def require_unchanged(spec: RunSpec) -> None:
    """Refuse to run a cell with code that is no longer on disk.

    Raises
    ------
    BenchError
        If a file means something else than what this process has imported.
    """
    for part in _parts(kind_of(spec), edition()).values():
        now, imported = read(part.file), content(part.file)
        if now == imported:
            continue
        if now is None or imported is None or part.read(now) != part.read(imported):
            raise BenchError(
                f"{part.file} changed after this process had imported it; finished cells are "
                "kept: run the same command again."
            )


@lru_cache(maxsize=4096)
def _digest(kind: Kind, edition: int) -> str:
    digest = digest_of(_parts(kind, edition))
    if not kind.content:
        return digest
    return hashlib.sha256(f"{digest} {kind.content}".encode()).hexdigest()


@lru_cache(maxsize=4096)
def _parts(kind: Kind, edition: int) -> dict[str, Part]:
    del edition  # what was read has changed if it has
    return parts_of(kind)


def digest_of(parts: dict[str, Part], source: Callable[[Path], bytes | None] = content) -> str:
    """Return the SHA-256 over the names and the meanings of files."""
    return meanings_digest(
        {name: part.read(source(part.file) or b"").meaning for name, part in parts.items()}
    )


def parts_of(kind: Kind, source: Callable[[Path], bytes | None] = content) -> dict[str, Part]:
    """Return all files that the digest of a kind of cells covers.

    Parameters
    ----------
    kind
        The kind of cells.
    source
        Returns the content of a file, or None if there is no such file.

    Returns
    -------
    dict
        Path below the folder of its distribution -> the file.

    Raises
    ------
    InputError
        If there is no such method or data set.
    """
    reach = _Reach(kind, source)
    reach.follow(_roots(kind))
    return reach.found


def method_meanings(method: str) -> dict[str, str]:
    """Return the files of a method, without what all methods share, and what each means.

    Raises
    ------
    InputError
        If there is no such method.
    """
    reach = _Reach(None, content)
    reach.follow(_defining(method))
    return {
        name: part.read(content(part.file) or b"").meaning
        for name, part in sorted(reach.found.items())
        if not name.startswith(SHARED)
    }


def _roots(kind: Kind) -> Iterator[str]:
    """Yield the modules from which imports are followed."""
    own = own_data(kind.data)
    if own is None and kind.data not in SOURCES:
        raise unknown("data set", kind.data, SOURCES)
    yield CELL
    yield OWN_DATA if own else f"pipelines.data.sets.{SOURCES[kind.data].module}"
    yield f"pipelines.networks.neurons.{kind.neuron}"
    for name in {kind.method, "dense"} if kind.dense else {kind.method}:
        yield from _defining(name)
    for name in kind.factories:
        yield name.partition(":")[0]


def _defining(method: str) -> Iterator[str]:
    """Yield the modules that define a method; a plug-in is imported to find its base classes."""
    method = catalogue.info(method).name
    file = Path(catalogue.source(method))
    if file.parts[0] in PACKAGES and file.suffix:
        yield ".".join(file.with_suffix("").parts)
        return
    from pipelines.methods.registry import method as find  # imports torch

    yield from (kind.__module__ for kind in find(method).__mro__)


class _Reach:
    """Follows imports, and collects the files of the modules."""

    def __init__(self, kind: Kind | None, source: Callable[[Path], bytes | None]) -> None:
        self.kind = kind
        self.source = source
        self.found: dict[str, Part] = {}
        self.users = UserModules(kind.factories if kind else (), source)
        self.places: dict[str, tuple[Path, bool] | None] = {}

    def follow(self, roots: Iterable[str]) -> None:
        todo = list(roots)
        for name in todo:
            self._library(name)
        seen: set[str] = set()
        while todo:
            name = todo.pop()
            top = name.partition(".")[0]
            if top in plugins():
                name = top
            if name in seen:
                continue
            seen.add(name)
            if top in PACKAGES:
                todo += self._module(name)
            elif top in plugins():
                todo += self._distribution(name)
            else:
                todo += self._of_user(name)

    def _of_user(self, name: str) -> list[str]:
        """Add a module of the user's; return what is imported with it."""
        found = self.users.find(name)
        if found is None:
            return []
        label, file, package = found

        def syntax(text: bytes) -> Syntax:
            return read_python(text, package)

        self.found[label] = Part(file, syntax)
        return [name.rpartition(".")[0], *syntax(self.source(file) or b"").imports]

    def _library(self, name: str) -> None:
        """Add the file of a base class in a library; what the library imports does not count."""
        top = name.partition(".")[0]
        file = getattr(sys.modules.get(name), "__file__", None) or ""
        ours = top in PACKAGES or top in plugins() or top in sys.stdlib_module_names
        if file.endswith(".py") and not ours:
            self.found[f"{name.replace('.', '/')}.py"] = Part(Path(file), read_python)

    def _module(self, name: str) -> list[str]:
        """Add a module of ours and the C code beside it; return what is imported with it."""
        place = self._find(name)
        if place is None:
            return []
        file, is_package = place
        parent = name.rpartition(".")[0]
        package = name if is_package else parent
        row = self.kind.data if self.kind and name == DATA else ""

        def syntax(text: bytes) -> Syntax:
            return read_python(text, package, TABLE if row else "", row)

        self.found[file.relative_to(ROOT).as_posix()] = Part(file, syntax)
        self._compiled(file.with_suffix(".c"))
        imports = syntax(self.source(file) or b"").imports
        unused = self._unused(name)
        return [parent, *(one for one in imports if not f"{one}.".startswith(unused))]

    def _unused(self, importer: str) -> tuple[str, ...]:
        """Prefixes of what a module imports that this kind of cells does not use."""
        if importer in OF_FACTORIES:
            return self._of_factories()
        if importer == SURFACE:
            return (f"{ATTACHMENT}.",)
        if importer != PLANS or self.kind is None:
            return ()
        used = self.kind.device if self.kind.plan == "fused" else ""
        return tuple(
            f"{name}." for device, names in FUSED.items() if device != used for name in names
        )

    def _of_factories(self) -> tuple[str, ...]:
        """Prefixes of what runs networks of factories only, and of this module."""
        used = self.kind is not None and self.kind.factories
        return (f"{__name__}.", *(() if used else (f"{name}." for name in OWN_NETWORK)))

    def _find(self, name: str) -> tuple[Path, bool] | None:
        """Return the file of a module and whether it is a package; None if it is no module."""
        if name not in self.places:
            self.places[name] = self._search(name)
        return self.places[name]

    def _search(self, name: str) -> tuple[Path, bool] | None:
        parent = name.rpartition(".")[0]
        above = self._find(parent) if parent else (ROOT / "__init__.py", True)
        if above is None or not above[1]:
            return None
        path = above[0].with_name(name.rpartition(".")[2])
        for file, is_package in ((path / "__init__.py", True), (path.with_suffix(".py"), False)):
            if self.source(file) is not None:
                return file, is_package
        return None

    def _compiled(self, file: Path) -> None:
        """Add a C file, if there is one, and the headers that it includes."""
        name = file.relative_to(ROOT).as_posix()
        text = self.source(file) if name not in self.found else None
        if text is None:
            return
        self.found[name] = Part(file, read_c)
        for included in read_c(text).imports:
            self._compiled(file.with_name(included))

    def _distribution(self, top: str) -> list[str]:
        """Add all files of the distribution of a plug-in; return what they import."""
        imports: list[str] = []
        for place in plugins().get(top, ()):
            for file in source_files(place):
                name = file.relative_to(place.parent).as_posix()
                if name in self.found or (text := self.source(file)) is None:
                    continue
                is_python = file.suffix == ".py"
                package = ".".join(Path(name).parent.parts)

                def syntax(text: bytes, *, p: str = package, python: bool = is_python) -> Syntax:
                    return read_python(text, p) if python else read_c(text)

                self.found[name] = Part(file, syntax)
                imports += syntax(text).imports if is_python else ()
        return imports
