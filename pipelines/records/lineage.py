"""Lineage: which versions of the code were proven to give the same outcomes.

``results/canaries/code.json`` has the code as it was when the canaries were last accepted: what
each file means. Each entry of ``results/lineage.json`` leads from one version of the code to the
next: what each changed file meant before and after. So the digest that a cell had in an earlier
version is computed again, and a record of that digest stays valid, if the canaries cover the cell
in every entry between the two. The sections of the code follow `pipelines.records.digest`:

=====================  ======================================================================
section                files that it adds
=====================  ======================================================================
``cell``               what every cell uses
``data NAME``          reader of a data set, and its entry in the table of data sets
``neuron NAME``        a neuron model
``plan fused DEVICE``  the kernels of the plan ``fused``
``method NAME``        a method
=====================  ======================================================================

An edited file changes nothing: the identifier of a version is a hash of its content, and each entry
has a seal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pipelines.common.errors import BenchError
from pipelines.common.files import atomic_file, read_small_file
from pipelines.common.structs import Struct, StructT, as_json, decoder
from pipelines.data.catalogue import SOURCES
from pipelines.settings.network import ARTIFICIAL
from pipelines.settings.rules import RULES_VERSION

if TYPE_CHECKING:
    from pipelines.records.digest import Kind

#: Files below the folder of a project.
LINEAGE, CODE = "results/lineage.json", "results/canaries/code.json"
#: Separates a file from the entry of its table that counts.
ROW = "#"


def meanings_digest(meanings: Mapping[str, str]) -> str:
    """Return the SHA-256 over files and what each means, in the order of their names."""
    digest = hashlib.sha256()
    for name, meaning in sorted(meanings.items()):
        digest.update(f"{name}\0{meaning}\n".encode())
    return digest.hexdigest()


class Code(Struct, frozen=True, kw_only=True):
    """A version of the code.

    Parameters
    ----------
    files
        File -> what it means. ``FILE#ROW`` is a file of whose table one entry counts.
    sections
        Section -> its files, sorted.
    """

    files: dict[str, str]
    sections: dict[str, list[str]]

    @property
    def version(self) -> str:
        """Identifier of the version: a hash of all files and sections."""
        return _hash(as_json(self))

    def digest(self, kind: Kind) -> str | None:
        """Return the digest of a kind of cells; None if the version has not all of its sections."""
        names = sections_of(kind)
        if not all(name in self.sections for name in names):
            return None
        files = {file for name in names for file in self.sections[name]}
        return meanings_digest({file.partition(ROW)[0]: self.files[file] for file in files})


class Entry(Struct, frozen=True, kw_only=True):
    """A change of the code, and what the canaries proved about it.

    Parameters
    ----------
    rules
        Version of the rules.
    before, after
        `Code.version` before and after the change.
    files
        Changed file -> what it meant before and after; None: it did not count.
    sections
        Changed section -> files that left it and files that joined it.
    covers
        What the equal canaries cover, see `needs`.
    unreached
        Changed files of which no canary ran any function.
    moved
        Names of the canaries whose outcome differed.
    environment
        Name of the reference environment that ran the canaries.
    outcomes
        Hash of the outcomes of all canaries.
    seal
        Hash of all other fields.
    """

    rules: int
    before: str
    after: str
    files: dict[str, tuple[str | None, str | None]]
    sections: dict[str, tuple[list[str], list[str]]]
    covers: list[str]
    unreached: list[str]
    moved: list[str]
    environment: str
    outcomes: str
    seal: str = ""

    def sealed(self) -> Entry:
        """Return the entry with its seal."""
        return msgspec.structs.replace(self, seal=self._seal())

    @property
    def intact(self) -> bool:
        """Whether the entry is as it was sealed."""
        return self.seal == self._seal()

    def _seal(self) -> str:
        return _hash(as_json(self) | {"seal": ""})

    def counts_for(self, kind: Kind, code: Code) -> bool:
        """Whether the entry proves that the outcomes of a kind of cells are the same.

        Parameters
        ----------
        kind
            The kind of cells.
        code
            The version of the code before or after the change.
        """
        if not set(needs(kind)) <= set(self.covers) or kind.device != "cpu":
            return False
        used = {file for name in sections_of(kind) for file in code.sections.get(name, ())}
        return not used & set(self.unreached)


class _LineageFile(Struct, frozen=True, kw_only=True):
    entries: list[Entry]


class Accepted(Struct, frozen=True, kw_only=True):
    """The code when the canaries were last accepted.

    Parameters
    ----------
    rules
        Version of the rules.
    generation
        How often outcomes of canaries have changed under this version of the rules, plus 1.
    unreached
        Files of which no canary ran any function: a change of these is not proven.
    code
        The code.
    """

    rules: int = RULES_VERSION
    generation: int
    unreached: list[str]
    code: Code


def sections_of(kind: Kind) -> list[str]:
    """Return the sections that a kind of cells uses."""
    names = ["cell", f"data {kind.data}", f"neuron {kind.neuron}", f"method {kind.method}"]
    names += ["method dense"] if kind.dense else []
    return names + ([f"plan fused {kind.device}"] if kind.plan == "fused" else [])


def needs(kind: Kind) -> list[str]:
    """Return what the canaries must cover so that an entry counts for a kind of cells.

    These are the method on a spiking or an artificial network, and its neurons, images or events,
    and the plan, with any method. Where the method ``dense`` takes part, both are needed with it.
    """
    network = "ann" if kind.neuron == ARTIFICIAL else "snn"
    form = "events" if kind.data in SOURCES and SOURCES[kind.data].events else "images"
    workload = f"{kind.neuron} {form} {kind.plan}"
    needed = [f"{kind.method} {network}", workload]
    return needed + ([f"{kind.method} dense", f"{workload} dense"] if kind.dense else [])


class Lineage:
    """All entries that belong to a version of the code, as a graph of versions.

    Parameters
    ----------
    code
        The version that was accepted last; None: nothing was accepted yet.
    entries
        The entries, the oldest first.

    Raises
    ------
    BenchError
        If an entry was edited.
    """

    def __init__(self, code: Code | None, entries: Iterable[Entry]) -> None:
        self.entries = list(entries)
        for number, entry in enumerate(self.entries, 1):
            if not entry.intact:
                raise BenchError(
                    f"entry {number} of {LINEAGE} was edited: it differs from its seal; restore "
                    f"the file, for example with: git checkout {LINEAGE}"
                )
        self.entries = [entry for entry in self.entries if entry.rules == RULES_VERSION]
        self.versions: dict[str, Code] = {} if code is None else {code.version: code}
        self._reconstruct(list(self.versions))
        self._groups: dict[Kind, list[list[str]]] = {}

    def _reconstruct(self, todo: list[str]) -> None:
        """Compute every version that entries connect with the accepted one."""
        while todo:
            version = todo.pop()
            for entry in self.entries:
                for start, end, back in (
                    (entry.before, entry.after, False),
                    (entry.after, entry.before, True),
                ):
                    if start != version or end in self.versions:
                        continue
                    code = _applied(self.versions[version], entry, back=back)
                    if code.version == end:
                        self.versions[end] = code
                        todo.append(end)

    def same(self, kind: Kind, digest: str) -> list[str]:
        """Return the digests whose records are as good as those of a digest, the oldest first."""
        if kind not in self._groups:
            self._groups[kind] = self._find_groups(kind)
        return next((group for group in self._groups[kind] if digest in group), [digest])

    def _find_groups(self, kind: Kind) -> list[list[str]]:
        digests = {version: code.digest(kind) for version, code in self.versions.items()}
        groups: list[list[str]] = []

        def group_of(digest: str) -> list[str]:
            found = next((group for group in groups if digest in group), None)
            if found is None:
                groups.append(found := [digest])
            return found

        for entry in self.entries:
            before, after = digests.get(entry.before), digests.get(entry.after)
            if before is None or after is None:
                continue
            first, second = group_of(before), group_of(after)
            sides = (self.versions[entry.before], self.versions[entry.after])
            if first is not second and all(entry.counts_for(kind, side) for side in sides):
                first += second
                groups = [group for group in groups if group is not second]
        return groups


def change(old: Code, new: Code) -> dict[str, Any]:
    """Return the fields `files` and `sections` of the entry that leads from `old` to `new`."""
    files = {
        name: (old.files.get(name), new.files.get(name))
        for name in sorted(old.files.keys() | new.files.keys())
        if old.files.get(name) != new.files.get(name)
    }
    sections = {}
    for name in sorted(old.sections.keys() | new.sections.keys()):
        left, joined = set(old.sections.get(name, ())), set(new.sections.get(name, ()))
        if left != joined or (name in old.sections) != (name in new.sections):
            sections[name] = (sorted(left - joined), sorted(joined - left))
    return {"files": files, "sections": sections}


def _applied(code: Code, entry: Entry, *, back: bool) -> Code:
    """Return the version on the other side of an entry."""
    files, sections = dict(code.files), {name: set(all_) for name, all_ in code.sections.items()}
    for name, pair in entry.files.items():
        meaning = pair[0] if back else pair[1]
        files.pop(name, None)
        if meaning is not None:
            files[name] = meaning
    for name, (left, joined) in entry.sections.items():
        gone, come = (joined, left) if back else (left, joined)
        now = sections.get(name, set()) - set(gone) | set(come)
        sections[name] = now
        if not now:
            del sections[name]
    return Code(files=files, sections={name: sorted(now) for name, now in sections.items()})


def _hash(document: Any) -> str:
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def read_lineage(root: Path) -> Lineage:
    """Read the lineage of the code in a folder; the files are read again only if they changed.

    Raises
    ------
    BenchError
        If a file cannot be read, or was edited.
    """
    return _read(root, *(_stamp(root / name) for name in (LINEAGE, CODE)))


def read_accepted(root: Path) -> Accepted | None:
    """Return the code that was last accepted under these rules; None if there is none.

    Raises
    ------
    BenchError
        If the file cannot be read.
    """
    accepted = _parsed(root / CODE, Accepted)
    return accepted if accepted and accepted.rules == RULES_VERSION else None


def write_accepted(root: Path, accepted: Accepted) -> None:
    """Write the code that was accepted, one line for each file and section."""
    code = (
        f'{{\n "files": {{\n{_lines(accepted.code.files)}\n }},\n'
        f' "sections": {{\n{_lines(accepted.code.sections)}\n }}\n}}'
    )
    unreached = ",\n".join(f"  {json.dumps(name)}" for name in accepted.unreached)
    with atomic_file(root / CODE) as file:
        file.write(
            f'{{\n"rules": {accepted.rules},\n"generation": {accepted.generation},\n'
            f'"unreached": [\n{unreached}\n],\n"code": {code}\n}}\n'.encode()
        )


def _lines(fields: Mapping[str, Any]) -> str:
    return ",\n".join(
        f"  {json.dumps(name)}: {json.dumps(fields[name])}" for name in sorted(fields)
    )


def append_entry(root: Path, entry: Entry) -> None:
    """Seal an entry and add it to the lineage; entries of other versions of the rules go.

    Raises
    ------
    BenchError
        If the file cannot be read or written, or was edited.
    """
    entries = [*read_lineage(root).entries, entry.sealed()]
    body = ",\n".join(f"  {{\n{_lines(as_json(one))}\n  }}" for one in entries)
    with atomic_file(root / LINEAGE) as file:
        file.write(f'{{\n "entries": [\n{body}\n ]\n}}\n'.encode())


@lru_cache(maxsize=8)
def _read(root: Path, *stamps: tuple[int, int] | None) -> Lineage:
    del stamps  # another one, another file
    file = _parsed(root / LINEAGE, _LineageFile)
    accepted = read_accepted(root) if file else None
    return Lineage(accepted.code if accepted else None, file.entries if file else ())


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return time and size of a file; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _parsed(path: Path, kind: type[StructT]) -> StructT | None:
    """Read a file; None if there is none."""
    if not path.is_file():
        return None
    try:
        return decoder(kind).decode(read_small_file(path))
    except (OSError, ValueError, RecursionError) as error:
        raise BenchError(
            f"{path} cannot be read ({error}); restore it, for example with git checkout."
        ) from error
