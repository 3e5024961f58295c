"""A second run of a cell from its spec alone: it finds forged but self-consistent records."""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

from pipelines import data
from pipelines.audit.comparison import Scatter, average_differences, differences, is_here
from pipelines.common.errors import BenchError, InputError
from pipelines.common.time_limit import time_limit
from pipelines.engines.engine import available_cores, run_cells
from pipelines.records.files import read_record
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.training.machine import find_device

#: Cells that are run again: a whole board would take as long as it took its author.
#: Where all bits must be equal, fewer are enough.
DRAWN, DRAWN_HERE = 16, 5
#: Seconds after which no further cell is begun, and a second run is given up.
LIMIT = 600.0
#: Threads for each core of this machine, above which a cell is not run again.
_THREADS = 4


class _TimeIsUpError(KeyboardInterrupt):
    """A second run takes too long. As Ctrl-C, it is no failure of the method."""


def draw(files: Iterable[Path], most: int = DRAWN) -> list[Path]:
    """Choose at random files whose records can be run on this machine; fewer if there are fewer."""
    files = list(files)
    random.SystemRandom().shuffle(files)
    return list(islice((file for file in files if _runs_here(read_record(file))), most))


def _runs_here(record: RunRecord) -> bool:
    """Whether this machine has the device and the cores that a record's spec asks for."""
    try:
        find_device(record.spec.device)
    except InputError:
        return False
    return record.spec.threads <= _THREADS * available_cores()


def second_runs(
    drawn: Sequence[Path],
    files: Iterable[Path],
    again: Callable[[Path, RunRecord], tuple[RunRecord | None, list[str]]],
) -> Iterator[tuple[Path, str]]:
    """Run the cells of several records again; find single and average differences.

    Parameters
    ----------
    drawn
        Files of the records.
    files
        All files beside them, whose seeds say how much accuracies scatter.
    again
        Runs the cell of a file and its record again, as `run_again`.

    Yields
    ------
    tuple of Path and str
        A file, and a sentence that says what differs.

    Raises
    ------
    BenchError
        As `run_again`; or if no second run ended in time.
    """
    started, scatter = time.monotonic(), Scatter(map(read_record, files))
    pairs: list[tuple[RunRecord, RunRecord]] = []
    faulty = False
    for file in drawn:
        same = all(is_here(one, two) for one, two in pairs)
        if time.monotonic() - started > LIMIT or (same and len(pairs) == DRAWN_HERE):
            break
        record = read_record(file)
        second, found = again(file, record)
        if second is not None:
            found = [*found, *differences(record, second, scatter)]
            pairs.append((record, second))
        faulty = faulty or bool(found)
        for sentence in found:
            yield file, sentence
    for sentence in average_differences(pairs, scatter):
        yield drawn[0], sentence
    if drawn and not pairs and not faulty:
        raise BenchError(
            f"no cell that was drawn ended within {LIMIT:g} seconds; use --no-rerun to verify "
            "without second runs."
        )


def second_run(record: RunRecord, root: Path) -> list[str]:
    """Run the cell of a record again, and say what differs; see `run_again`."""
    again, found = run_again(record, root)
    return found if again is None else differences(record, again)


def run_again(record: RunRecord, root: Path) -> tuple[RunRecord | None, list[str]]:
    """Run the cell of a record again.

    The second run uses no earlier results. If the cell needs a dense checkpoint (post-training) or
    a parent (control), that is computed again, too.

    Parameters
    ----------
    record
        A record of any status.
    root
        The project's folder; data sets are in its subfolder ``data``.

    Returns
    -------
    tuple of RunRecord and list of str
        The record of the second run; or None, and a sentence that says why there is none. There is
        no sentence if the second run takes longer than `LIMIT`: that is no fault of the record.

    Raises
    ------
    BenchError
        If the data cannot be fetched, or the cell cannot be run on this machine.
    """
    spec = record.spec
    data.fetch(spec.settings.data, root / "data")
    with (
        suppress(_TimeIsUpError),
        tempfile.TemporaryDirectory() as folder,
        time_limit(LIMIT, _TimeIsUpError, ""),
    ):
        store = Store(Path(folder) / "records")
        if spec.control:
            (parent,) = run_cells([spec.parent], root / "data", store, "serial", 1)
            if parent.status != "ok":
                return None, [f"has a parent whose second run is {parent.status}: {parent.message}"]
        (again,) = run_cells([spec], root / "data", store, "serial", 1)
        return again, []
    return None, []
