"""Joules that the processor packages of this machine have used, by the counters of RAPL.

RAPL (Running Average Power Limit) is a meter of Intel's and AMD's processors, which Linux shows as
files. It counts everything that runs on a package, and its idle power.
"""

from __future__ import annotations

from pathlib import Path

from pipelines.common.errors import BenchError

#: Folder in which Linux has one folder for each package.
POWERCAP = Path("/sys/class/powercap")


class PackageMeter:
    """The energy of all processor packages.

    Parameters
    ----------
    root
        Folder of the counters.

    Raises
    ------
    BenchError
        If there are no counters, or they may not be read.
    """

    def __init__(self, root: Path = POWERCAP) -> None:
        self._folders = [
            folder
            for folder in sorted(root.glob("intel-rapl:*"))
            if folder.name.count(":") == 1 and _text(folder / "name").startswith("package")
        ]
        if not self._folders:
            raise BenchError(f"the kernel shows no RAPL counters of packages in {root}")
        self._ranges = [int(_text(folder / "max_energy_range_uj")) for folder in self._folders]
        self._last = self._read()

    def joules(self) -> float:
        """Return the energy in J since the last call, or since the meter was made.

        A counter may have returned to zero once meanwhile: call this more often than every minute.

        Raises
        ------
        BenchError
            If a counter cannot be read any more.
        """
        before, self._last = self._last, self._read()
        used = (
            now - then if now >= then else now - then + whole
            for now, then, whole in zip(self._last, before, self._ranges, strict=True)
        )
        return sum(used) / 1e6

    def _read(self) -> list[int]:
        return [int(_text(folder / "energy_uj")) for folder in self._folders]


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise BenchError(f"the RAPL counter {path} cannot be read ({error.strerror})") from error
