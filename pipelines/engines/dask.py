"""The engine ``dask``: the workers of Dask, on this machine, of a scheduler, or of SLURM.

A worker computes one cell at a time. Cells that ask for a GPU go to workers that were started with
``--resources GPU=1``.
"""

from __future__ import annotations

from concurrent.futures import CancelledError, Future
from contextlib import ExitStack
from importlib import import_module
from importlib.util import find_spec
from types import TracebackType
from typing import Any, Self

from pipelines.common.errors import BenchError
from pipelines.engines.task import Task, compute
from pipelines.records.record import RunRecord

#: The scheduler that starts its workers as jobs of SLURM.
SLURM = "slurm"
#: Time in which a scheduler must answer, in s.
PATIENCE = 30.0


class Dask:
    """The workers of a Dask scheduler.

    Parameters
    ----------
    workers
        Number of workers to start; of an existing scheduler, the number is its own.
    scheduler
        Address of an existing scheduler; ``slurm``: start a scheduler here, and workers as jobs,
        as ``jobqueue.yaml`` of dask-jobqueue describes them; empty: workers on this machine.

    Raises
    ------
    BenchError
        If a package is missing, or the scheduler does not answer.
    """

    remote = True

    def __init__(self, workers: int, scheduler: str = "") -> None:
        for package, needed in (("distributed", True), ("dask_jobqueue", scheduler == SLURM)):
            if needed and find_spec(package) is None:
                raise BenchError(
                    f"the engine 'dask' needs the package {package}; install it with "
                    "pip install 'dpap-bench[cluster]', in your clone with pip install -e "
                    "'.[cluster]'."
                )
        distributed: Any = import_module("distributed")
        self.lost: tuple[type[BaseException], ...] = (
            distributed.KilledWorker,
            distributed.client.FutureCancelledError,
            CancelledError,
        )
        self._submitted = 0
        self._starts_workers = scheduler in ("", SLURM)
        self._stack = ExitStack()
        address = scheduler or self._local(workers)
        if scheduler == SLURM:
            address = self._slurm(workers)
        try:
            self.client: Any = self._stack.enter_context(
                distributed.Client(address, timeout=PATIENCE)
            )
        except (OSError, ValueError) as error:
            self._stack.close()
            raise BenchError(
                f"the Dask scheduler {scheduler} does not answer ({error}); start it, or give its "
                "address as tcp://HOST:PORT."
            ) from error
        self._executor = self.client.get_executor(pure=False, retries=0)

    @property
    def slots(self) -> int:
        """Number of workers; at least one task waits for the first worker."""
        return max(1, len(self._workers))

    @property
    def _workers(self) -> dict[str, Any]:
        """Address -> what the scheduler knows about the worker."""
        found: dict[str, Any] = self.client.scheduler_info(n_workers=-1)["workers"]
        return found

    @property
    def dashboard(self) -> str:
        """Address of Dask's dashboard."""
        return str(self.client.dashboard_link)

    def waits_for(self, device: str) -> str:
        """Say that no worker is there yet, or none for GPUs, unless the engine starts them."""
        if self._starts_workers:
            return ""
        workers, address = self._workers.values(), self.client.scheduler.address
        needed = " --resources GPU=1" if device == "cuda" else ""
        if any(not needed or "GPU" in worker["resources"] for worker in workers):
            return ""
        kind = " with the resource GPU" if needed else ""
        return (
            f"the scheduler has no worker{kind} yet, and the sweep waits for the first one; start "
            f"it with: dask worker {address} --nthreads 1 --memory-limit 0{needed}."
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._executor.shutdown(wait=False)
        self._stack.close()

    def submit(self, task: Task) -> Future[RunRecord | None]:
        """Compute a task on a worker that is free; the dashboard shows its label."""
        asked = {"resources": {"GPU": 1}} if task.spec.device == "cuda" else {}
        self._submitted += 1  # a cell that is tried again has another key
        key = f"{task.label}-{self._submitted}"
        future: Future[RunRecord | None] = self._executor.submit(compute, task, key=key, **asked)
        return future

    def _local(self, workers: int) -> str:
        """Start workers on this machine; each is a process that may start others."""
        config = import_module("dask").config
        self._stack.enter_context(config.set({"distributed.worker.daemon": False}))
        cluster = import_module("distributed").LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=0,  # a worker that Dask pauses would never end its cell
            resources={"GPU": 1},  # cells that need none ask for none
            dashboard_address=":0",
        )
        return str(self._stack.enter_context(cluster).scheduler_address)

    def _slurm(self, workers: int) -> str:
        """Start a scheduler here, and workers as jobs of SLURM."""
        cluster = self._stack.enter_context(import_module("dask_jobqueue").SLURMCluster())
        cluster.adapt(minimum=workers, maximum=workers)  # a job that ended is replaced
        return str(cluster.scheduler_address)
