"""Injected faults: processes killed, disks full, code edited, records forged, plug-ins hostile.

``make faults`` runs each fault on a small board of the digits, heals it as a user would, and
compares all records with those of an undisturbed run. The columns of the table count, over all
tries:

================  =============================================================================
lost              records that were there before and are gone, and cells that no later sweep ran
duplicated        runs that have two records
half-written      files of records that cannot be read
healed            tries after which the next command completed the board
wrong but valid   records that differ from the undisturbed run, and that verify accepts
================  =============================================================================
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from pipelines.audit.comparison import timeless
from pipelines.audit.faults import faults
from pipelines.common.errors import BenchError
from pipelines.common.yaml import load_yaml
from pipelines.records.files import read_record

ROOT = Path(__file__).parent.parent
BOARD, METHODS = "quick", ("dense", "magnitude")
SWEEP = (sys.executable, "-m", "pipelines.cli.main", "sweep", "--board", BOARD, "--workers")
#: A plug-in with several methods, each of which does harm in its own way.
PLUGIN = {
    "hostile/__init__.py": "",
    "hostile/methods.py": """
from dataclasses import dataclass, replace
from os import _exit
import sys
from baselines.random import Random

@dataclass
class Leaves(Random):
    info = replace(Random.info, name="leaves", granularities=("unstructured",))
    def masks(self, progress): _exit(0)

@dataclass
class Exits(Random):
    info = replace(Random.info, name="exits", granularities=("unstructured",))
    def masks(self, progress): sys.exit(0)

@dataclass
class Patches(Random):
    info = replace(Random.info, name="patches", granularities=("unstructured",))
    def masks(self, progress):
        from pipelines.training import evaluation
        evaluation.correct_of = lambda test: None
        return super().masks(progress)
""",
    "hostile/broken.py": "raise SystemExit(0)\n",
    "hostile-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: hostile\nVersion: 1\n",
    "hostile-1.dist-info/entry_points.txt": """[dpap_bench.methods]
leaves = hostile.methods:Leaves
exits = hostile.methods:Exits
patches = hostile.methods:Patches
broken = hostile.broken:Broken
""",
    "hostile-1.dist-info/top_level.txt": "hostile\n",
}
HOSTILE = ("leaves", "exits", "patches")


def write_plugin(folder: Path) -> None:
    """Write the hostile plug-in; the folder in PYTHONPATH installs it."""
    for name, text in PLUGIN.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@dataclass
class Project:
    """A project with a small board, and what is known about it.

    Parameters
    ----------
    home
        Its folder.
    reference
        run_id -> the fields of the record of an undisturbed run, without timings.
    code
        The folder that Python imports the harness from.
    paths
        Further folders of modules.
    seconds
        How long an undisturbed sweep took.
    count
        The columns of the table.
    """

    home: Path
    reference: dict[str, object] = field(default_factory=dict)
    code: Path = ROOT
    paths: tuple[Path, ...] = ()
    seconds: float = 0.0
    count: Counter[str] = field(default_factory=Counter)

    def make(self, *methods: str) -> None:
        """Write params.yaml and methods.yaml: one epoch of a small network, two seeds."""
        params = load_yaml(ROOT / "params.yaml")
        assert isinstance(params, dict)
        params["workloads"]["digits-ann"]["recipe"]["epochs"] = 1
        fields = {
            "workloads": ["digits-ann"],
            "baselines": [*METHODS, *methods],
            "densities": [0.5],
            "seeds": [0, 1, 2],
        }
        found = params | {"boards": {BOARD: fields}}
        self.home.mkdir(parents=True)
        (self.home / "params.yaml").write_text(json.dumps(found))
        shutil.copy(ROOT / "methods.yaml", self.home)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of commands."""
        paths = [*self.paths, self.code, *filter(None, [os.environ.get("PYTHONPATH")])]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths)), "PATH": path}

    def start(
        self, *command: str, limit: Callable[[], None] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command in a group of its own."""
        return subprocess.Popen(  # noqa: S603 -- commands of this file
            command,
            cwd=self.home,
            env=self.variables,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=limit,  # noqa: PLW1509 -- no threads
        )

    def sweep(self, workers: int = 1) -> int:
        """Run the sweep to its end, and return its exit status."""
        return self.start(*SWEEP, str(workers)).wait()

    @property
    def records(self) -> dict[str, Path]:
        """All files of records by name."""
        return {file.stem: file for file in sorted((self.home / "results").rglob("*.json"))}

    def remember(self) -> None:
        """Make the present records the reference."""
        self.reference = {name: timeless(read_record(file)) for name, file in self.records.items()}

    def clear(self) -> None:
        """Remove all records."""
        shutil.rmtree(self.home / "results", ignore_errors=True)

    def audit(self, before: Mapping[str, Path] | None = None) -> None:
        """Count what is wrong with the records now."""
        found, seen = Counter[str](), Counter[str]()
        files = [*(self.home / "results").rglob("*.json")]
        for file in files:
            seen[file.stem] += 1
            try:
                record = read_record(file)
            except BenchError:
                found["half-written"] += 1
                continue
            wrong = timeless(record) != self.reference.get(record.run_id, timeless(record))
            if wrong and record.status != "failed":
                found["wrong but valid"] += not any(True for _ in faults(file.parent))
        found["duplicated"] = sum(number - 1 for number in seen.values())
        found["lost"] = len((before or {}).keys() - self.records.keys())
        self.count.update(found)

    def heal(self, status: int = 0) -> None:
        """Run the sweep again, and count the cells that it left out."""
        ended = self.sweep()
        self.count["healed"] += ended == status
        self.count["lost"] += len(self.reference.keys() - self.records.keys())
        self.audit()


def _kill_soon(process: subprocess.Popen[bytes], project: Project, seconds: float) -> None:
    """Kill a command and all of its processes at a random moment after it began."""
    with suppress(subprocess.TimeoutExpired):
        process.wait(random.uniform(0, seconds))  # noqa: S311 -- no secret
    before = project.records
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    project.audit(before)


def kill_sweep(project: Project) -> None:
    """Kill -9 of a sweep with its workers."""
    _kill_soon(project.start(*SWEEP, "2"), project, project.seconds)
    project.heal()


def kill_main(project: Project) -> None:
    """Kill -9 of the main process alone: its workers must end by themselves."""
    process = project.start(*SWEEP, "2")
    with suppress(subprocess.TimeoutExpired):
        process.wait(random.uniform(0, project.seconds))  # noqa: S311
    process.kill()
    process.wait()
    project.count["lost"] += _outlives(process.pid)
    project.heal()


def _outlives(group: int) -> bool:
    """Whether a process of a group is there after a minute.

    A process that imports PyTorch ends only after that, which takes long on a busy machine.
    """
    for _ in range(600):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    os.killpg(group, signal.SIGKILL)
    return True


def full_disk(project: Project) -> None:
    """A file system that takes no more than some hundred bytes of a file."""
    most = random.randrange(4000)  # noqa: S311

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    before = project.records
    project.start(*SWEEP, "1", limit=limit).wait()
    project.audit(before)
    project.heal()


def no_folder(project: Project) -> None:
    """A file where a folder of records must be."""
    place = project.home / "results" / "boards" / BOARD / "records"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()
    refused = project.sweep() == 1
    project.audit()
    place.unlink()
    project.heal()
    project.count["lost"] += not refused


def empty_lock(project: Project) -> None:
    """An empty file of DVC's locks, as a killed DVC leaves it."""
    lock = project.home / ".dvc" / "tmp" / "rwlock"
    _make_pipeline(project)
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_bytes(b"")
    _repro(project)


def kill_dvc(project: Project) -> None:
    """Kill -9 of DVC alone, while its stage runs."""
    _make_pipeline(project)
    process = project.start("dvc", "repro", "--quiet")
    with suppress(subprocess.TimeoutExpired):
        process.wait(5 + random.uniform(0, project.seconds))  # noqa: S311
    before = project.records
    process.kill()
    process.wait()
    project.count["lost"] += _outlives(process.pid)
    project.audit(before)
    _repro(project)


def _make_pipeline(project: Project) -> None:
    """Make a DVC pipeline of one stage, the sweep."""
    project.start("dvc", "init", "--no-scm", "--quiet", "--force").wait()
    stage = {"cmd": " ".join((*SWEEP, "1")), "outs": [{"results": {"persist": True}}]}
    (project.home / "dvc.yaml").write_text(json.dumps({"stages": {"sweep": stage}}))


def _repro(project: Project) -> None:
    """Reproduce as ``make repro`` does, and count it."""
    project.start("make", "-s", "-f", str(ROOT / "Makefile"), "unlock").wait()
    project.count["healed"] += project.start("dvc", "repro", "--quiet").wait() == 0
    project.count["lost"] += len(project.reference.keys() - project.records.keys())
    project.audit()


def edited_method(project: Project) -> None:
    """A method that is edited while its cells run."""
    project.code = project.home / "code"
    for name in ("baselines", "dpap", "pipelines"):
        shutil.copytree(ROOT / name, project.code / name, dirs_exist_ok=True)
    shutil.copytree(ROOT / "results" / "canaries", project.code / "results" / "canaries")
    shutil.copy(ROOT / "results" / "lineage.json", project.code / "results")
    file = project.code / "baselines" / "magnitude.py"
    text = file.read_text()
    process = project.start(*SWEEP, "1")
    while not project.records and process.poll() is None:
        time.sleep(0.02)
    file.write_text(f"{text}\nEDITED = True\n")
    process.wait()
    project.audit()
    file.write_text(text)
    project.heal()


def hostile(project: Project) -> None:
    """A plug-in whose methods end the process, patch the harness, or cannot be imported."""
    project.sweep(2)
    statuses = Counter(read_record(file).status for file in project.records.values())
    project.count["lost"] += statuses["failed"] != 3 * len(HOSTILE)
    project.heal(status=1)


def forged(project: Project) -> None:
    """A record whose test accuracy is edited."""
    project.sweep()
    file = random.choice([*project.records.values()])  # noqa: S311
    text = file.read_text()
    document = json.loads(text)
    document["outcome"]["test_accuracy"] += 1 / 450
    file.write_text(json.dumps(document))
    project.audit()
    file.unlink()
    project.heal()


def cut(project: Project) -> None:
    """A record that a failing disk has cut: verify names it, and the user deletes it."""
    project.sweep()
    file = random.choice([*project.records.values()])  # noqa: S311
    file.write_bytes(file.read_bytes()[: random.randrange(500)])  # noqa: S311
    named = {path for path, _ in faults(project.home / "results")}
    project.count["lost"] += file not in named
    file.unlink()
    project.heal()


#: Fault -> how it is injected, and the tries in fifteen minutes of two cores.
FAULTS: dict[str, tuple[Callable[[Project], None], int]] = {
    "kill -9 of a sweep and its workers": (kill_sweep, 15),
    "kill -9 of the main process alone": (kill_main, 5),
    "kill -9 of DVC alone": (kill_dvc, 3),
    "DVC's file of locks empty": (empty_lock, 2),
    "full disk": (full_disk, 5),
    "results cannot be written": (no_folder, 2),
    "a method edited during a sweep": (edited_method, 3),
    "a hostile plug-in": (hostile, 2),
    "an edited record": (forged, 5),
    "a cut record": (cut, 5),
}
COLUMNS = ("lost", "duplicated", "half-written", "healed", "wrong but valid")


def injected(inject: Callable[[Project], None], tries: int, folder: Path) -> Counter[str]:
    """Inject a fault several times into new copies of a project; return the columns."""
    total = Counter[str]()
    methods = HOSTILE if inject is hostile else ()
    start = Project(folder / "reference")
    if methods:
        write_plugin(folder / "plugin")
        start.paths = (folder / "plugin",)
    start.make(*methods)
    begun = time.monotonic()
    start.sweep(2)
    seconds = time.monotonic() - begun
    start.remember()
    start.clear()
    for number in range(tries):
        home = folder / str(number)
        shutil.copytree(start.home, home, symlinks=True)
        project = Project(home, start.reference, paths=start.paths, seconds=seconds)
        inject(project)
        total += project.count
        shutil.rmtree(home)
    return total


def table(found: Mapping[str, tuple[int, Counter[str]]]) -> Iterator[str]:
    """Yield the lines of the table in Markdown."""
    yield f"| fault | tries | {' | '.join(COLUMNS)} |"
    yield f"| --- |{' --: |' * (1 + len(COLUMNS))}"
    for name, (tries, count) in found.items():
        yield f"| {name} | {tries} | {' | '.join(str(count[column]) for column in COLUMNS)} |"


def main(
    only: Annotated[list[str] | None, typer.Option(help="Only faults whose name has this.")] = None,
    tries: Annotated[int | None, typer.Option(min=1, help="Tries of each fault.")] = None,
) -> None:
    """Inject every fault, and print the table."""
    found: dict[str, tuple[int, Counter[str]]] = {}
    for name, (inject, usual) in FAULTS.items():
        if only and not any(part in name for part in only):
            continue
        with tempfile.TemporaryDirectory() as temporary:
            count = injected(inject, tries or usual, Path(temporary))
        found[name] = (tries or usual, count)
        print(f"{name}: {dict(count)}", file=sys.stderr)
    print("\n".join(table(found)))
    bad = [name for name, (n, count) in found.items() if count["healed"] < n or _harm(count)]
    if bad:
        raise SystemExit(f"not healed, or harmed: {', '.join(bad)}")


def _harm(count: Counter[str]) -> int:
    return sum(number for column, number in count.items() if column != "healed")


if __name__ == "__main__":
    typer.run(main)
