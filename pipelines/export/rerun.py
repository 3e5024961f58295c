"""A second run of a recorded cell, to get the network that its record describes.

Records hold no networks. With the same code in the same environment, a second run gives the same
network bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec.structs import replace

from pipelines import data
from pipelines.audit.comparison import differences
from pipelines.common.errors import BenchError, InputError
from pipelines.networks.network import Network
from pipelines.records.digest import code_digest
from pipelines.records.files import read_record
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.training import cell
from pipelines.training.environment import environment
from pipelines.training.machine import find_device
from pipelines.training.trainer import Trainer

#: Folders of records in results/. If several hold the same run, the first of them is read.
RECORD_FOLDERS = ("boards", "local", "tuning")


def find_record(root: Path, prefix: str) -> RunRecord:
    """Read the record whose run id begins with `prefix`, from any folder of records.

    Parameters
    ----------
    root
        The project's folder.
    prefix
        A run id, or its first characters.

    Raises
    ------
    InputError
        If no run id begins with `prefix`, or several do.
    """
    paths: dict[str, Path] = {}
    for path in _record_paths(root, prefix):
        paths.setdefault(path.stem, path)
    if not paths:
        raise InputError(
            f"no record in results/ has a run id that begins with '{prefix}'; a record's file is "
            "named after its run id."
        )
    if len(paths) > 1:
        some = ", ".join(sorted(paths)[:3])
        raise InputError(f"{len(paths)} runs begin with '{prefix}' ({some}, ...); give more of it.")
    (path,) = paths.values()
    return read_record(path)


def _record_paths(root: Path, prefix: str) -> Iterator[Path]:
    """Find the files in all folders of records whose run id begins with `prefix`."""
    for name in RECORD_FOLDERS:
        for path in sorted((root / "results" / name).rglob("*.json")):
            if path.stem.startswith(prefix):
                yield path


def _parent(root: Path, record: RunRecord) -> RunRecord | None:
    """Read the record that a control followed; None if it has no record or is no control."""
    if not record.spec.control:
        return None
    found = [read_record(path) for path in _record_paths(root, record.spec.parent.run_id)]
    followed = [parent for parent in found if parent.trajectory.digest == record.parent]
    return next(iter(followed or found), None)


def rerun(
    root: Path, record: RunRecord, on_masks: Callable[[Trainer, float], None] | None = None
) -> tuple[RunRecord, Network]:
    """Run the cell of a record again, and keep its network.

    Parameters
    ----------
    root
        The project's folder, with data sets, dense checkpoints and the parents of controls.
    record
        A record with an outcome.
    on_masks
        Called with the trainer and the progress when the method has given new masks.

    Returns
    -------
    RunRecord
        The record with the status, outcome, environment and code digest of the second run.
    Network
        The network after physical removal, in evaluation mode.

    Raises
    ------
    BenchError
        If the second run fails, or if its parent has no record.
    """
    spec = record.spec
    checkpoints = Store(root / "results" / "local").checkpoints
    data.fetch(spec.settings.data, root / "data")
    try:
        network, outcome, status = cell.final_network(
            spec, root / "data", checkpoints, _parent(root, record), on_masks
        )
    except BenchError:
        raise
    except Exception as error:  # a method is foreign code: it may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise BenchError(f"a second run of {record.run_id} failed ({reason}).") from error
    settings = spec.settings
    again = replace(
        record,
        status=status,
        outcome=outcome,
        environment=environment(
            spec.threads, settings.execution, find_device(spec.device), settings.network
        ),
        code_digest=code_digest(spec),
    )
    return again, network


def require_same_network(record: RunRecord, again: RunRecord, network: Network) -> None:
    """Refuse a second run whose network is not the one that the record describes.

    Parameters
    ----------
    record
        The record that was found.
    again, network
        What `rerun` returned.

    Raises
    ------
    BenchError
        If the second run differs (see `pipelines.audit.comparison.differences`), or if its layer
        widths do. On another machine, `differences` alone would allow other widths.
    """
    assert record.outcome is not None
    found = differences(record, again)
    if record.outcome.layout != network.layout:
        found.append(f"has the layout {record.outcome.layout}, a second run {network.layout}.")
    if found:
        raise BenchError(f"nothing is exported: the record of {record.run_id} {' It '.join(found)}")
