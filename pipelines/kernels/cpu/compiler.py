"""Compiles the C file beside a module at its first use, and calls it; the user's cache keeps it."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pipelines.common.imported import content

_FLAGS = ("-O3", "-march=native", "-fno-math-errno", "-shared", "-fPIC")
_FORMATS = {torch.float32: "FLOAT32", torch.float64: "FLOAT64", torch.bfloat16: "BFLOAT16"}


@cache
def version() -> str:
    """Return the first line that the C compiler prints of its version; empty without a compiler."""
    compiler = _compiler()
    if compiler is None:
        return ""
    command = [compiler, "--version"]
    try:
        said = subprocess.run(command, check=True, capture_output=True, timeout=120)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""
    return said.stdout.decode(errors="replace").partition("\n")[0].strip()


def _compiler() -> str | None:
    return os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")


@cache
def library(source: Path, dtype: torch.dtype) -> ctypes.CDLL | None:
    """Load the compiled code for a number format; None without a working compiler."""
    compiler = _compiler()
    if compiler is None or dtype not in _FORMATS:
        return None
    kind = _FORMATS[dtype]
    key = f"{compiler} {version()} {_FLAGS} {kind} {platform.machine()} {_processor()}".encode()
    # What this process read first, which its records name; the files may have changed since.
    files = {p.name: content(p) or b"" for p in (source, *sorted(source.parent.glob("*.h")))}
    name = hashlib.sha256(b"".join(files.values()) + key).hexdigest()[:16]
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache_home / "dpap-bench" / f"{source.stem}-{name}.so"
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                made = Path(folder) / path.name
                for file, text in files.items():
                    Path(folder, file).write_bytes(text)
                code = str(Path(folder, source.name))
                command = [compiler, *_FLAGS, f"-D{kind}", "-o", str(made), code]
                subprocess.run(command, check=True, capture_output=True, timeout=120)  # noqa: S603
                made.replace(path)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.SubprocessError):
        return None


def _processor() -> str:
    """Describe what ``-march=native`` depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith("flags")), platform.processor())


@cache
def _function(source: Path, dtype: torch.dtype, name: str, arguments: int) -> Any:
    found = library(source, dtype)
    if found is None:
        raise RuntimeError(f"{source.name} cannot be compiled here for {dtype}")
    function = getattr(found, name)
    function.argtypes, function.restype = [ctypes.c_void_p] * arguments, ctypes.c_int64
    return function


def call(source: Path, dtype: torch.dtype, function: str, *arguments: Any) -> int:
    """Call a function of the compiled code with the addresses of tensors and structures.

    Returns
    -------
    int
        Its result, if that is an integer of 64 bits.

    Raises
    ------
    RuntimeError
        If the code cannot be compiled for this number format.
    """
    pointers = [a.data_ptr() if isinstance(a, Tensor) else a and ctypes.byref(a) for a in arguments]
    return int(_function(source, dtype, function, len(pointers))(*pointers))
