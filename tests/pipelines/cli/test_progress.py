"""Progress: a bar on a terminal, lines elsewhere, and an estimate of the remaining time."""

from __future__ import annotations

from io import StringIO

from pipelines.cli.progress import INTERVAL, Progress


class Terminal(StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


class Clock:
    """A clock that a test sets, in seconds."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_file_gets_a_line_every_half_minute() -> None:
    stream, clock = StringIO(), Clock()
    with Progress(10, "board quick", "cell", stream, clock) as progress:
        for number in range(10):
            clock.now += INTERVAL / 2
            progress.advance(f"cell {number}")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "board quick: 2 of 10 cells, 0:30 so far, about 2:00 left, cell 1"
    assert lines[-1] == "board quick: 10 of 10 cells, 2:30 so far, about 0:00 left, cell 9"
    assert len(lines) == 5
    assert "\r" not in stream.getvalue()


def test_long_times_have_hours() -> None:
    stream, clock = StringIO(), Clock()
    with Progress(4, "tuning", "run", stream, clock) as progress:
        clock.now += 5400
        progress.advance("one", 1)
    assert "1:30:00 so far, about 4:30:00 left" in stream.getvalue()


def test_a_terminal_gets_a_bar() -> None:
    stream = Terminal()
    with Progress(3, "board quick", "cell", stream) as progress:
        progress.advance("a")
        progress.write("failed: b")
        progress.advance("b", 2)
    shown = stream.getvalue()
    assert "3/3" in shown
    assert "failed: b\n" in shown


def test_parts_may_be_added_while_others_are_computed() -> None:
    stream, clock = StringIO(), Clock()
    with Progress(1, "board quick", "cell", stream, clock) as progress:
        progress.extend(3)
        clock.now += INTERVAL
        progress.advance("cell")
    assert stream.getvalue().startswith("board quick: 1 of 4 cells, 0:30 so far, about 1:30 left")
    with Progress(1, "board quick", "cell", bar := Terminal()) as progress:
        progress.extend(1)
        progress.advance("a", 2)
    assert "2/2" in bar.getvalue()
