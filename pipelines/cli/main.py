"""The command ``dpap-bench``. Results go to stdout, progress and errors to stderr."""

from __future__ import annotations

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from pipelines.cli import (
    authoring,
    canaries,
    explaining,
    exporting,
    listing,
    measuring,
    planning,
    publishing,
    reporting,
    running,
    sweeping,
)
from pipelines.common.errors import BenchError, InputError, one_line

app = typer.Typer(
    name="dpap-bench",
    help="Compare pruning methods for spiking and artificial networks, under the same rules.",
    epilog="Start with 'dpap-bench list boards'. Run commands inside a clone of the project. "
    "docs/commands.md describes all commands, and docs/glossary.md explains the words.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"dpap-bench {version('dpap-bench')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Show the version and exit.",
            is_eager=True,
            callback=_print_version,
        ),
    ] = False,
) -> None:
    pass


app.command("list")(listing.list_command)
for command in (
    running.fetch,
    running.run,
    sweeping.sweep,
    sweeping.work,
    running.digest,
    canaries.canaries,
    reporting.report,
    reporting.findings,
    reporting.diff,
    reporting.sync,
    authoring.check,
    authoring.new_method,
    authoring.tune,
    publishing.verify,
    publishing.convert,
    publishing.submit,
    publishing.publish,
    publishing.show,
    planning.plan,
    exporting.export,
    explaining.explain,
    measuring.measure,
):
    app.command()(command)


def main() -> None:
    """Run the command line.

    An error is printed as one sentence. The exit status is 2 for wrong input, 1 for other errors,
    and 130 after Ctrl-C.
    """
    try:
        app()
    except BenchError as error:
        print(f"dpap-bench: {one_line(str(error))}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, InputError) else 1) from None
    except KeyboardInterrupt:
        print(
            "dpap-bench: stopped; finished cells are kept. Run the same command again to continue.",
            file=sys.stderr,
        )
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
