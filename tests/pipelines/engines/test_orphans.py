"""A command ends with the process that started it, even if that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from pipelines.engines import orphans
from tests.helpers.paths import ROOT

CHILD = """
import threading
from pipelines.engines import orphans
orphans.SECONDS = 0.01
orphans.leave_with_dvc()
print("here", flush=True)
threading.Event().wait(600)
"""
PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {CHILD!r}])
"""


def test_a_sweep_ends_with_a_killed_dvc() -> None:
    variables = os.environ | {orphans.OF_DVC: "sweep", "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, env=variables
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"here\n"
        parent.send_signal(signal.SIGKILL)
        assert parent.stdout.read() == b"", "the child has closed its end"


def test_the_parent_of_a_shell_counts() -> None:
    code = "from pipelines.engines.orphans import ancestors; print(len(ancestors()))"
    command = f"{sys.executable} -c '{code}'; true"
    found = subprocess.check_output(["/bin/sh", "-c", command], cwd=ROOT, text=True)
    assert found == "2\n"
    assert orphans.ancestors()[0] == os.getppid()
