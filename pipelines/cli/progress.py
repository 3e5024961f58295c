"""Progress of a long command: a bar on a terminal, otherwise a line every half minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TextIO

from tqdm import tqdm

#: Seconds between two lines if the stream is not a terminal.
INTERVAL = 30.0


class Progress:
    """Counts finished parts of a command and estimates the remaining time.

    The estimate uses the mean time per part so far, because cells differ in length.

    Parameters
    ----------
    total
        Number of parts that this command will compute.
    title
        Name of the whole, such as ``board quick``.
    unit
        Name of one part, such as ``cell``.
    stream
        Where progress is shown; default: stderr. A terminal gets a bar.
    clock
        Returns the time in seconds.
    """

    def __init__(
        self,
        total: int,
        title: str,
        unit: str,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.total = total
        self.title = title
        self.unit = unit
        self.stream = stream or sys.stderr
        self.clock = clock
        self.done = 0
        self.bar: tqdm[Any] | None = None

    def __enter__(self) -> Self:
        self.start = self.shown = self.clock()
        if self.stream.isatty():
            self.bar = tqdm(
                total=self.total, desc=self.title, unit=self.unit, smoothing=0, file=self.stream
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    def advance(self, label: str, count: int = 1) -> None:
        """Count `count` more parts as finished; `label` names the last of them."""
        self.done += count
        if self.bar is not None:
            self.bar.set_postfix_str(label, refresh=False)
            self.bar.update(count)
            return
        now = self.clock()
        if self.done >= self.total or now - self.shown >= INTERVAL:
            self.shown = now
            self.write(f"{self._line(now)}, {label}")

    def extend(self, count: int) -> None:
        """Add `count` more parts to those that this command will compute."""
        self.total += count
        if self.bar is not None:
            self.bar.total = self.total
            self.bar.refresh()

    def write(self, text: str, stream: TextIO | None = None) -> None:
        """Print a line above the bar; the line stays."""
        to = stream or self.stream
        if self.bar is not None:
            self.bar.write(text, to)
        else:
            print(text, file=to, flush=True)

    def _line(self, now: float) -> str:
        """Return the counts, the time so far, and the remaining time, as text."""
        spent = now - self.start
        left = spent / self.done * (self.total - self.done) if self.done else 0.0
        return (
            f"{self.title}: {self.done} of {self.total} {self.unit}s, {_clock(spent)} so far, "
            f"about {_clock(left)} left"
        )


def _clock(seconds: float) -> str:
    """Return a duration as minutes:seconds or hours:minutes:seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
