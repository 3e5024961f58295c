"""MLflow as a sink: the records are the truth, and any tracking store can be rebuilt from them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipelines.core.data.files import sha256
from pipelines.core.record import RunRecord
from pipelines.core.store import Store

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

_ID, _DIGEST, _SOURCE = "dpap_bench.run_id", "dpap_bench.sha256", "dpap_bench.store"


@dataclass(frozen=True)
class _Entry:
    """A record, its checksum, and the store that it lies in."""

    record: RunRecord
    digest: str
    source: str

    @property
    def key(self) -> tuple[str, str]:
        return self.source, self.record.run_id


def synchronize(stores: Sequence[Store], uri: str) -> dict[str, int]:
    """Make the runs of a tracking store equal to the records.

    A new record becomes a run, a changed one replaces its run, the run of a vanished one is
    deleted. Runs that this function did not make are left alone.

    Parameters
    ----------
    stores
        Where the records are.
    uri
        MLflow tracking URI.

    Returns
    -------
    dict
        How many runs were added, replaced, deleted and left as they are.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    wanted = {entry.key: entry for store in stores for entry in _entries(store)}
    present = dict(_present(client))
    counts = {"added": 0, "replaced": 0, "deleted": 0, "unchanged": 0}
    for key, (run_id, digest) in present.items():
        if key in wanted and wanted[key].digest == digest:
            counts["unchanged"] += 1
            continue
        client.delete_run(run_id)
        counts["replaced" if key in wanted else "deleted"] += 1
    experiments: dict[str, str] = {}
    for key, entry in wanted.items():
        if key in present and present[key][1] == entry.digest:
            continue
        counts["added"] += key not in present
        workload = entry.record.spec.workload
        if workload not in experiments:
            experiments[workload] = _experiment(client, workload)
        _log(client, experiments[workload], entry)
    return counts


def _entries(store: Store) -> Iterator[_Entry]:
    for path, record in store.records():
        yield _Entry(record, sha256(path), store.root.name)


def _present(client: MlflowClient) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """(store, run_id) -> (MLflow's id, checksum) of every run that came from a record."""
    for experiment in client.search_experiments():
        token: str | None = None
        while True:
            page = client.search_runs(
                [experiment.experiment_id], max_results=1000, page_token=token
            )
            for run in page:
                tags = run.data.tags
                if _ID in tags:
                    yield (tags[_SOURCE], tags[_ID]), (run.info.run_id, tags[_DIGEST])
            token = page.token
            if not token:
                break


def _experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _log(client: MlflowClient, experiment: str, entry: _Entry) -> None:
    """Write one record as one run, in one batch."""
    from mlflow.entities import Param, RunTag

    record, spec = entry.record, entry.record.spec
    name = spec.label().removeprefix(f"{spec.workload} ")
    start = round(record.started_at.timestamp() * 1000)
    run = client.create_run(experiment, run_name=name, start_time=start)
    tags = {
        _ID: record.run_id,
        _DIGEST: entry.digest,
        _SOURCE: entry.source,
        "status": record.status,
        "message": record.message,
        "code_digest": record.code_digest,
        "processor": record.environment.processor,
        "torch": record.environment.torch,
    }
    parameters = dict(_flat(spec.model_dump(mode="json")))
    client.log_batch(
        run.info.run_id,
        metrics=_metrics(record, start),
        params=[Param(key, str(value)) for key, value in parameters.items()],
        tags=[RunTag(key, value) for key, value in tags.items()],
    )
    client.set_terminated(
        run.info.run_id,
        "FINISHED" if record.status == "ok" else "FAILED",
        end_time=start + round(record.total_seconds * 1000),
    )


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", inner


def _metrics(record: RunRecord, start: int) -> list[Metric]:
    """Curves by epoch, then the final figures; times in milliseconds from `start`."""
    from mlflow.entities import Metric

    metrics = []
    for epoch, point in enumerate(record.curve, start=1):
        milliseconds = start + round(point.seconds * 1000)
        metrics += [
            Metric(name, value, milliseconds, epoch) for name, value in point.model_dump().items()
        ]
    final: dict[str, float] = {"train_seconds": record.train_seconds}
    if record.outcome is not None:
        cost = record.outcome.cost
        final |= {
            "flops": 2 * cost.macs,
            "parameters": cost.parameters,
            "final_density": cost.density,
            "effective_macs": cost.effective_macs,
            "synops": cost.synops,
            "energy_nanojoule": cost.energy_nanojoule,
        }
        test = {
            "test_accuracy": record.outcome.test_accuracy,
            "test_loss": record.outcome.test_loss,
        }
        final |= {name: value for name, value in test.items() if value is not None}
        final |= {
            f"latency_milliseconds_batch_{size}": value
            for size, value in cost.latency_milliseconds.items()
        }
    end = start + round(record.total_seconds * 1000)
    return metrics + [Metric(name, value, end, 0) for name, value in final.items()]
