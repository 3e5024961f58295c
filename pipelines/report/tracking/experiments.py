"""The experiments of MLflow: one per board, with the records that are in it."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from pipelines.boards.params import Params
from pipelines.records.files import files_digest
from pipelines.records.record import RunRecord
from pipelines.records.store import Store, board_folder, board_store
from pipelines.report.analysis.rows import Row, make_rows
from pipelines.report.tables.summary import summary_markdown
from pipelines.settings.spec import RunSpec

#: The experiment of records in results/local and of records that are on no board.
NO_BOARD = "no board"


@dataclass(frozen=True)
class Entry:
    """A record, its file, the checksum of the file, and its folder below results/."""

    record: RunRecord
    path: Path
    digest: str
    folder: str

    @property
    def name(self) -> str:
        """Name in the list of runs."""
        return run_name(self.record.spec)


def run_name(spec: RunSpec) -> str:
    """Name of a run in the list of runs: method, granularity, density, seed, workload."""
    workload, _, rest = spec.label().partition(" ")
    return f"{rest.replace(' density ', ' ')}, {workload}"


@dataclass(frozen=True)
class Group:
    """The records of one method on one workload in an experiment: a parent run in MLflow.

    Parameters
    ----------
    workload, track, method
        What its records have in common; a control belongs to the method of its parent.
    entries
        Its records.
    rows
        Their means over seeds; none for records that are on no board.
    """

    workload: str
    track: str
    method: str
    entries: tuple[Entry, ...]
    rows: tuple[Row, ...] = ()

    @property
    def place(self) -> str:
        """Workload, and track unless it is from-scratch."""
        return self.workload if self.track == "from-scratch" else f"{self.workload} {self.track}"

    @property
    def name(self) -> str:
        """Place and method."""
        return f"{self.place} {self.method}"

    @property
    def statuses(self) -> dict[str, int]:
        """Number of its records by status."""
        return dict(sorted(Counter(entry.record.status for entry in self.entries).items()))

    @property
    def digest(self) -> str:
        """SHA-256 over the content of the parent run."""
        return hashlib.sha256(repr((self.rows, self.statuses)).encode()).hexdigest()


@dataclass(frozen=True)
class Experiment:
    """One experiment of MLflow.

    Parameters
    ----------
    name
        Name of the board, or `NO_BOARD`.
    cells
        Number of cells of the board.
    entries
        Its records.
    """

    name: str
    cells: int
    entries: tuple[Entry, ...] = field(repr=False)

    @cached_property
    def rows(self) -> list[Row]:
        """Means over seeds; none without a board."""
        if self.name == NO_BOARD:
            return []
        return make_rows([entry.record for entry in self.entries])

    @property
    def groups(self) -> list[Group]:
        """Its records by workload, track and method."""
        entries: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
        for entry in self.entries:
            spec = entry.record.spec
            entries[spec.workload, spec.track, spec.name].append(entry)
        rows: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
        for row in self.rows:
            rows[row.workload, row.track, row.method].append(row)
        return [Group(*key, tuple(own), tuple(rows[key])) for key, own in entries.items()]

    @property
    def note(self) -> str:
        """Description in Markdown."""
        if self.name == NO_BOARD:
            return (
                "Single runs (results/local), and records of cells that are no longer on any board "
                "of params.yaml. They are no comparison, so there are no means."
            )
        return (
            f"Board **{self.name}**: {len(self.entries)} of {self.cells} cells have a record. Mean "
            "test accuracy in %; in brackets the gain over random pruning, in points.\n\n"
            f"{summary_markdown(self.rows)}"
        )


def experiments(params: Params, root: Path) -> list[Experiment]:
    """Sort the records below results/ into experiments, one for each board that has records.

    Parameters
    ----------
    params
        Which boards there are.
    root
        The project's folder.
    """
    found: list[Experiment] = []
    rest: list[Entry] = []
    for name in params.boards:
        store = board_store(root, name)
        controls = Store(board_folder(root, name) / "controls")
        known = {e.record.run_id: e for e in [*_entries(store), *_entries(controls)]}
        cells = dict.fromkeys(spec.run_id for spec in params.everything(name, store))
        own = [known.pop(run_id) for run_id in cells if run_id in known]
        if own:
            found.append(Experiment(name, len(cells), tuple(own)))
        rest += known.values()
    rest += _entries(Store(root / "results" / "local"))
    return [*found, Experiment(NO_BOARD, 0, tuple(rest))] if rest else found


def _entries(store: Store) -> Sequence[Entry]:
    return [
        Entry(record, path, files_digest(path), store.root.name) for path, record in store.records()
    ]
