"""Progress: calm where nobody watches, off where it is not wanted."""

import io
import os
import re

import pytest

from frazil import progress
from frazil.status import JobStatus


class Terminal(io.StringIO):
    """Text that takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FRAZIL_PROGRESS", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_lines_have_no_control_characters_and_come_seldom() -> None:
    out = io.StringIO()
    shown = progress.Lines(out, seconds=0.0)
    quick = progress.reporter(out=io.StringIO())
    assert isinstance(quick, progress.Lines)
    for rows in range(3):
        shown.update(JobStatus(state="running", table="a.b", rows=rows))
        quick.update(JobStatus(state="running", table="a.b", rows=rows))
    shown.close(JobStatus(state="finished", table="a.b", rows=3))
    lines = out.getvalue().splitlines()
    assert [line.split(" | ")[2] for line in lines] == ["0 rows", "1 rows", "2 rows", "3 rows"]
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", out.getvalue())
    assert quick._out.getvalue() == ""  # type: ignore[attr-defined]


def test_the_same_line_is_not_repeated() -> None:
    out = io.StringIO()
    shown = progress.Lines(out, seconds=0.0)
    for _ in range(5):
        shown.update(JobStatus(state="running", table="a.b"))
    assert out.getvalue().count("\n") == 1


def test_a_closed_log_does_not_stop_the_job() -> None:
    out = io.StringIO()
    shown = progress.Lines(out, seconds=0.0)
    out.close()
    shown.update(JobStatus(state="running"))


@pytest.mark.parametrize("wish", ["off", "0", "OFF", "false"])
def test_the_environment_turns_it_off(wish: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FRAZIL_PROGRESS", wish)
    assert isinstance(progress.reporter(True, Terminal()), progress.Silent)


def test_false_turns_it_off_and_a_terminal_gets_a_live_display(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(progress.reporter(False, Terminal()), progress.Silent)
    pytest.importorskip("rich")
    out = Terminal()
    shown = progress.reporter(None, out)
    assert isinstance(shown, progress.Live)
    shown.update(JobStatus(state="running", table="a.b", rows=5, last_error="again"))
    shown.close(JobStatus(state="finished", table="a.b", rows=1_234))
    assert "1,234 rows" in out.getvalue()
    monkeypatch.setenv("FRAZIL_PROGRESS", "lines")
    assert isinstance(progress.reporter(None, Terminal()), progress.Lines)
    monkeypatch.delenv("FRAZIL_PROGRESS")
    monkeypatch.setitem(os.environ, "TERM", "dumb")
    assert isinstance(progress.reporter(None, Terminal()), progress.Lines)


def test_text_of_the_job_is_not_taken_for_markup() -> None:
    pytest.importorskip("rich")
    out = Terminal()
    shown = progress.Live(out)
    shown.close(JobStatus(state="failed", table="[red]t[/nonsense]", last_error="[/bold] x"))
    assert "[/nonsense]" in out.getvalue()
