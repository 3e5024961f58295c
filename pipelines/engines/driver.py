"""The driver of a sweep: it gives tasks to an engine when they can run, and writes their records.

A control waits for its parent, and a post-training cell for its dense checkpoint, but for nothing
else. Each cell is claimed before it is computed (`pipelines.engines.claims`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path

from pipelines.common.errors import BenchError
from pipelines.engines.claims import Claims
from pipelines.engines.engine import Engine, Terms
from pipelines.engines.task import Task, TimeLimitError, keep
from pipelines.records.checkpoint import (
    checkpoint_path,
    dense_cell,
    read_checkpoint,
    stored_digest,
)
from pipelines.records.digest import code_digest, equal_digests, kind_of
from pipelines.records.record import RunRecord
from pipelines.records.store import Store
from pipelines.settings.spec import RunSpec


@dataclass
class _Job:
    """A cell, or the dense checkpoint that it starts from, which has not ended.

    Parameters
    ----------
    spec
        The cell.
    only_start
        Whether the job is the checkpoint.
    tries
        How often a worker was lost.
    not_before
        When it may be tried again; of the clock `time.monotonic`.
    """

    spec: RunSpec
    only_start: bool = False
    tries: int = 0
    not_before: float = 0.0

    @property
    def name(self) -> str:
        return _start_of(self.spec) if self.only_start else self.spec.run_id

    @property
    def needs(self) -> list[str]:
        """Names of the jobs that must end before this one."""
        parent = [self.spec.parent.run_id] if self.spec.control else []
        starts = self.spec.track == "post-training" and not self.only_start
        return [*parent, _start_of(self.spec)] if starts else parent


class Driver:
    """Runs cells on an engine.

    Parameters
    ----------
    specs, data_root, store, follow, terms
        As for `pipelines.engines.engine.run_cells`.
    engine
        Computes the tasks.
    """

    def __init__(
        self,
        specs: Sequence[RunSpec],
        data_root: Path,
        store: Store,
        engine: Engine,
        follow: Callable[[RunRecord], Iterable[RunSpec]] | None,
        terms: Terms,
    ) -> None:
        self.data_root = data_root
        self.store = store
        self.engine = engine
        self.follow = follow
        self.terms = terms
        self.claims = Claims(store.claims)
        self.known: set[str] = set()
        self.jobs: dict[str, _Job] = {}  # that have not been submitted, in order
        self.running: dict[Future[RunRecord | None], _Job] = {}
        self.faults: list[str] = []
        self._add(specs)

    def run(self) -> Iterator[RunRecord]:
        """Run the cells, and those that follow them; yield each record when it is written.

        Raises
        ------
        BenchError
            If a record cannot be written, or a cell could not be computed. Finished cells are kept.
        """
        with self.claims:
            try:
                with self.engine:
                    yield from self._run()
            finally:
                self._keep_rest()
        if self.faults:
            more = f", and {len(self.faults) - 1} more cells" if len(self.faults) > 1 else ""
            raise BenchError(f"{self.faults[0]}{more}; finished cells are kept.")

    def _run(self) -> Iterator[RunRecord]:
        while self.jobs or self.running:
            for record in self._submit():
                yield self._end(record)
            for future in self._wait():
                written = self._result(self.running.pop(future), future)
                if written is not None:
                    yield self._end(written)

    def _keep_rest(self) -> None:
        """If the sweep is stopped, keep the records of cells that ended while workers left."""
        for future in self.running:
            ended = future.done() and not future.cancelled() and future.exception() is None
            if ended and (record := future.result()) is not None:
                keep(self.store, record)

    def _add(self, specs: Iterable[RunSpec]) -> None:
        """Add cells that are not known, each after the checkpoint that it starts from."""
        new = [spec for spec in specs if spec.run_id not in self.known]
        starts = [_Job(spec, only_start=True) for spec in new if spec.track == "post-training"]
        for job in [*starts, *map(_Job, new)]:
            if job.name not in self.known:
                self.known.add(job.name)
                self.jobs[job.name] = job

    def _end(self, record: RunRecord) -> RunRecord:
        """Add the cells that can run now that there is a record."""
        if record.status != "ok":  # no control can follow it
            self._give_up_those_after(record.run_id)
        if self.follow is not None:
            self._add(self.follow(record))
        return record

    def _submit(self) -> Iterator[RunRecord]:
        """Claim and submit jobs while a worker is free; yield records that others have written."""
        slots = self.engine.slots
        for name, job in list(self.jobs.items()):
            if len(self.running) >= slots:
                return
            if name not in self.jobs:  # given up while the caller had the record of another
                continue
            if job.not_before > time.monotonic() or self._waits_for_another(job):
                continue
            if not self.claims.take(name):
                self._elsewhere(job)
                continue
            del self.jobs[name]
            done, record = self._done_meanwhile(job)
            if done:
                self.claims.release(name)
            else:
                self.running[self.engine.submit(self._task(job))] = job
            if record is not None:
                yield record

    def _waits_for_another(self, job: _Job) -> bool:
        """Whether a job depends on one that has not ended."""
        active = {one.name for one in self.running.values()}
        return any(name in self.jobs or name in active for name in job.needs)

    def _give_up_those_after(self, name: str) -> None:
        """Leave out the jobs that need one without a result: none of them could run."""
        for job in [job for job in self.jobs.values() if name in job.needs]:
            if self.jobs.pop(job.name, None) is not None:
                self._give_up_those_after(job.name)

    def _elsewhere(self, job: _Job) -> None:
        """Look again later at a job that another sweep computes, or leave it out."""
        if self.terms.waits or job.only_start:
            job.not_before = time.monotonic() + self.terms.look
        else:
            del self.jobs[job.name]

    def _done_meanwhile(self, job: _Job) -> tuple[bool, RunRecord | None]:
        """Whether another sweep has ended a job, and its record."""
        if job.only_start:
            path, dense = checkpoint_path(self.store.checkpoints, job.spec), dense_cell(job.spec)
            codes = equal_digests(kind_of(dense))
            return read_checkpoint(path, dense.run_id, codes) is not None, None
        record = None if self.terms.anew else self.store.valid(job.spec)
        return record is not None, record

    def _task(self, job: _Job) -> Task:
        spec, start = job.spec, ""
        if spec.track == "post-training" and not job.only_start:
            start = stored_digest(checkpoint_path(self.store.checkpoints, spec)) or ""
        return Task(
            spec,
            self.data_root.absolute(),
            self.store.root.absolute(),
            code_digest(spec),
            self.store.parent(spec),
            start,
            job.only_start,
            self.terms.limit,
            self.engine.remote,
        )

    def _wait(self) -> Iterable[Future[RunRecord | None]]:
        """Wait until a task ends, or until a job may be tried again."""
        now = time.monotonic()
        times = [job.not_before - now for job in self.jobs.values() if job.not_before > now]
        if self.engine.remote and self.jobs:
            times.append(self.terms.look)  # until then, more workers may have come
        free = self.engine.remote or len(self.running) < self.engine.slots
        timeout = min(times) if times and free else None
        if self.running:
            return wait(self.running, timeout, FIRST_COMPLETED).done
        time.sleep(timeout or 0.0)
        return ()

    def _result(self, job: _Job, future: Future[RunRecord | None]) -> RunRecord | None:
        """Write the record of a task that has ended, or try it again if its worker was lost."""
        try:
            record = future.result()
            if record is not None:
                keep(self.store, record)
            return record
        except TimeLimitError as error:
            self.faults.append(
                f"{error} took longer than {self.terms.limit:g} s (its state is stored: run the "
                "same command again with a longer --limit)"
            )
            self._give_up_those_after(job.name)
        except Exception as error:
            if not isinstance(error, (*self.engine.lost, OSError)):
                raise
            job.tries += 1
            if job.tries > self.terms.retries:
                self.faults.append(
                    f"a worker process was killed (out of memory?) or was lost {job.tries} times "
                    f"while it computed {job.spec.label()} ({error!r}; run the same command "
                    "again with fewer --workers)"
                )
                self._give_up_those_after(job.name)
            else:
                job.not_before = time.monotonic() + self.terms.pause * 2 ** (job.tries - 1)
                self.jobs = {job.name: job, **self.jobs}
        finally:
            self.claims.release(job.name)
        return None


def _start_of(spec: RunSpec) -> str:
    """Return the name of the dense checkpoint that a post-training cell starts from."""
    return f"{dense_cell(spec).run_id}-checkpoint"
