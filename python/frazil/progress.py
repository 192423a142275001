"""Progress of what takes long: live in a terminal, a calm line now and then in notebooks and logs, or none.

It goes to stderr, so that stdout stays for results. `progress=False` or `FRAZIL_PROGRESS=off` turns it off;
`FRAZIL_PROGRESS=lines` asks for lines in a terminal too.
"""

import contextlib
import os
import sys
import time
from typing import Any, Protocol, TextIO

from frazil import _text
from frazil.status import JobStatus

_SECONDS_BETWEEN_LINES = 5.0
_OFF = ("off", "0", "false", "no", "none")


class Reporter(Protocol):
    """Shows how a job gets on."""

    def update(self, status: JobStatus) -> None:
        """Takes the newest status; shows it when it is time."""

    def close(self, status: JobStatus | None = None) -> None:
        """Shows the last status and gives the terminal back."""


class Silent:
    """Shows nothing."""

    def update(self, status: JobStatus) -> None:
        """Shows nothing."""

    def close(self, status: JobStatus | None = None) -> None:
        """Shows nothing."""


class Lines:
    """One line every few seconds, without control characters: for logs, pipes and notebooks."""

    def __init__(self, out: TextIO, seconds: float = _SECONDS_BETWEEN_LINES) -> None:
        self._out = out
        self._seconds = seconds
        self._next = time.monotonic() + min(seconds, 1.0)
        self._last = ""

    def update(self, status: JobStatus) -> None:
        """Writes a line if the last one is old enough."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._seconds
            self._write(status)

    def close(self, status: JobStatus | None = None) -> None:
        """Writes how it ended."""
        if status is not None:
            self._write(status)

    def _write(self, status: JobStatus) -> None:
        line = status.line()
        if line == self._last:
            return
        self._last = line
        try:
            self._out.write(f"frazil: {line}\n")
            self._out.flush()
        except (OSError, ValueError):
            pass  # A closed log must not stop the job.


class Live:
    """A display that stays in its place in a terminal (rich)."""

    def __init__(self, out: TextIO) -> None:
        from rich.console import Console
        from rich.live import Live as Display

        self._display = Display(console=Console(file=out), auto_refresh=True, refresh_per_second=4, transient=False)
        self._open = False

    def update(self, status: JobStatus) -> None:
        """Draws the status anew."""
        if not self._open:
            self._open = True
            self._display.start()
        self._display.update(_picture(status))

    def close(self, status: JobStatus | None = None) -> None:
        """Draws the last status and leaves it there."""
        if not self._open and status is not None:
            self.update(status)
        if self._open:
            if status is not None:
                self._display.update(_picture(status), refresh=True)
            self._display.stop()
            self._open = False


def _picture(status: JobStatus) -> Any:
    from rich.table import Table
    from rich.text import Text

    colour = {"failed": "red", "finished": "green", "draining": "yellow"}.get(status.state, "cyan")
    grid = Table.grid(padding=(0, 2))
    grid.add_row(Text(status.table, style="bold"), Text(status.state, style=colour), Text(f"job {status.job}", "dim"))
    grid.add_row(f"{status.records:,} records", f"{status.records_per_second:,.0f}/s", f"lag {status.lag_total:,}")
    fresh = "" if status.freshness_ms is None else f"oldest uncommitted {status.freshness_ms / 1000:.1f} s"
    grid.add_row(f"{status.rows:,} rows", f"{_text.size(status.bytes_per_second)}/s", fresh)
    memory = f"memory {_text.size(status.memory_bytes)} of {_text.size(status.memory_limit)}"
    grid.add_row(f"{status.commits:,} commits", f"{status.dead_letters:,} dead letters", memory)
    if status.last_error and status.state != "finished":
        grid.add_row(Text(_text.one_line(status.last_error), style="red"))
    return grid


def reporter(progress: bool | None = None, out: TextIO | None = None) -> Reporter:
    """Chooses how progress is shown.

    Args:
        progress: False for none; True or None for what fits where stderr goes.
        out: Where to write, by default stderr.

    Example:
        >>> from frazil.progress import reporter
        >>> type(reporter(progress=False)).__name__
        'Silent'
    """
    wish = os.environ.get("FRAZIL_PROGRESS", "").strip().lower()
    if progress is False or wish in _OFF:
        return Silent()
    out = out if out is not None else sys.stderr
    if out is None:  # A process without stderr (pythonw, some services).
        return Silent()
    terminal = getattr(out, "isatty", lambda: False)() and os.environ.get("TERM") != "dumb"
    if terminal and wish != "lines":
        try:
            return Live(out)
        except ImportError:
            pass
    return Lines(out)


def say(message: str) -> None:
    """Writes one line to stderr, if there is one."""
    with contextlib.suppress(OSError, ValueError):
        print(f"frazil: {message}", file=sys.stderr, flush=True)
