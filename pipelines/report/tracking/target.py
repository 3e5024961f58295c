"""Which tracking store is meant, and a connection to it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipelines.common.errors import BenchError

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

#: Seconds that a server or a database has to answer the first request.
PATIENCE = 10


@dataclass(frozen=True)
class Target:
    """A tracking store.

    Parameters
    ----------
    uri
        MLflow tracking URI.
    origin
        Who chose it: an option or a variable; empty for the default.
    root
        The project's folder.
    """

    uri: str
    origin: str
    root: Path

    @property
    def shown(self) -> str:
        """The URI without user name, password and query, and who chose it."""
        parts = urlsplit(self.uri)
        host = parts.netloc.rpartition("@")[2]
        uri = f"{parts.scheme}://{host}{parts.path}" if parts.scheme else parts.path
        return f"{uri} ({self.origin})" if self.origin else uri

    @property
    def database(self) -> Path | None:
        """The file of an SQLite store; None for any other store."""
        if not self.uri.startswith("sqlite"):
            return None
        name = self.uri.partition(":///")[2].partition("?")[0]
        return Path(name).resolve() if name else None

    @property
    def artifacts(self) -> str | None:
        """URI of a folder beside an SQLite file; None where the server chooses the place."""
        return (self.database.parent / "mlruns").as_uri() if self.database else None

    @property
    def is_own(self) -> bool:
        """Whether it is the project's own store, which holds nothing but copies of records."""
        return self.database == self.root.resolve() / "mlflow.db"


def choose_target(root: Path, uri: str | None) -> Target:
    """Choose the store: that of ``--uri``, of ``MLFLOW_TRACKING_URI``, or ``mlflow.db`` in `root`.

    Parameters
    ----------
    root
        The project's folder.
    uri
        The option ``--uri``.
    """
    if uri:
        return Target(uri, "--uri", root)
    if chosen := os.environ.get("MLFLOW_TRACKING_URI"):
        return Target(chosen, "MLFLOW_TRACKING_URI", root)
    return Target(f"sqlite:///{root.resolve() / 'mlflow.db'}", "", root)


def connect(target: Target) -> MlflowClient:
    """Return a client of a store that answers.

    Raises
    ------
    BenchError
        If the store does not answer, or refuses the request.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Otherwise MLflow writes the address of every run to stdout.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # Seconds, not minutes, of repetitions if a server fails later: a sync can be run again.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    from mlflow.tracking import MlflowClient

    for name in ("mlflow", "alembic"):  # which report every table that they create
        logging.getLogger(name).setLevel(logging.WARNING)
    if target.is_own:
        _write_quickly(target.database)
    with one_sentence(target):
        if target.uri.startswith(("http://", "https://")):
            _ask_server(target)
        elif "://" in target.uri and not target.uri.startswith(("file:", "databricks")):
            _ask_database(target)
        client = MlflowClient(tracking_uri=target.uri)
        client.search_experiments(max_results=1)
    return client


@contextmanager
def one_sentence(target: Target) -> Iterator[None]:
    """Turn the errors of MLflow, its network and its databases into a BenchError.

    Raises
    ------
    BenchError
        Instead of these errors.
    """
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError, ImportError, OSError) as error:
        raise BenchError(f"MLflow at {target.shown}: {brief(error)}") from error


def brief(error: Exception) -> str:
    """First line of an error's message, or its beginning."""
    line = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return line if len(line) <= 200 else f"{line[:197]}..."


def _ask_server(target: Target) -> None:
    """Ask a server once; MLflow itself would ask for minutes."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request

    try:
        answer = http_request(  # type: ignore[no-untyped-call]
            get_default_host_creds(target.uri),  # type: ignore[no-untyped-call]
            "/api/2.0/mlflow/experiments/search",
            "POST",
            json={"max_results": 1},
            max_retries=0,
            timeout=PATIENCE,
            raise_on_status=False,
        )
    except MlflowException as error:
        raise BenchError(
            f"no MLflow server answers at {target.shown}; start it, or name another store with "
            "--uri."
        ) from error
    if answer.status_code in (401, 403):
        raise BenchError(
            f"MLflow at {target.shown} refuses the request ({answer.status_code}: "
            f"{brief(Exception(answer.text))}); set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, as its administrator says."
        )
    if answer.status_code != 200 or not answer.text.lstrip().startswith("{"):
        raise BenchError(
            f"{target.shown} does not answer as an MLflow server does (status "
            f"{answer.status_code}); check the address."
        )


def _ask_database(target: Target) -> None:
    """Ask a database once; MLflow itself would ask for an hour."""
    import sqlalchemy

    if target.database is not None:
        target.database.parent.mkdir(parents=True, exist_ok=True)
    limited = target.uri.startswith(("postgresql", "mysql"))
    options = {"connect_timeout": PATIENCE} if limited else {}
    try:
        engine = sqlalchemy.create_engine(target.uri, connect_args=options)
        sqlalchemy.inspect(engine).get_table_names()
        engine.dispose()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        raise BenchError(
            f"no database that MLflow can use at {target.shown}: {brief(error)}; start it, or name "
            "another store with --uri."
        ) from error


@cache
def _write_quickly(database: Path) -> None:
    """Do not let SQLite wait for the disk after each small write to a store of copies."""
    from sqlalchemy import Engine, event

    @event.listens_for(Engine, "connect")
    def connected(connection: Any, _: object) -> None:
        if type(connection).__module__.startswith("sqlite3"):
            (_, _, name) = connection.execute("PRAGMA database_list").fetchone()
            if name and Path(name) == database:
                connection.execute("PRAGMA synchronous=OFF")
