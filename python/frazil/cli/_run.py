"""`frazil run`: runs a job document to its end, or until it is told to stop."""

import argparse
import json
import os
import signal
import sys
import time
from types import FrameType
from typing import Any

from frazil import progress
from frazil._interrupt import interruptible
from frazil.cli import _options
from frazil.job import StreamHandle, load
from frazil.status import JobStatus

_SLICE_SECONDS = 0.2


def add(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "run",
        help="run a job",
        description="Runs a job. SIGTERM or Ctrl-C: read no more, commit, exit 0. Once more: exit 130 at once.",
        allow_abbrev=False,
    )
    parser.add_argument("job", help="a YAML or JSON file, '-' for stdin")
    parser.add_argument(
        "--set",
        metavar="PATH=VALUE",
        action="append",
        default=[],
        help="change the document: trigger.every=5s, 'sink.partition_by[0]=day(ts)'; may be repeated",
    )
    parser.add_argument("--check", action="store_true", help="check the document, show it with defaults, do not run it")
    parser.add_argument("--json", action="store_true", help="status lines as JSON on stdout")
    parser.add_argument("--every", metavar="SECONDS", type=_seconds, default=5.0, help="between JSON lines (5)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    text = sys.stdin.read() if options.job == "-" else load(_path(options.job))
    document: Any = text
    if options.set:
        document = _options.yaml_mapping(str(text), options.job)
        for path, value in _options.assignments(options.set, "--set"):
            _options.put(document, path, _options.value_of(value))
    if options.check:
        from frazil import _core

        print(json.dumps(_core.validate_job(document), indent=None if options.json else 2))
        return 0
    # Not load() again: text from stdin may be a single line.
    return _follow(document, options)


def _follow(document: Any, options: argparse.Namespace) -> int:
    from frazil import _core

    stopping = False
    handle: StreamHandle | None = None

    def on_signal(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            os._exit(130)
        stopping = True
        # A write from a signal handler may meet the same write half done: straight to the descriptor.
        os.write(2, b"frazil: stopping: commits what was read (again: exit at once)\n")
        if handle is not None:
            handle.stop()
        else:
            os._exit(0)  # Still opening: nothing was read, so there is nothing to commit.

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    shown = progress.reporter(False if options.json else None)
    try:
        handle = StreamHandle(interruptible(lambda: _core.Job.start(document)))
        final = _watch(handle, shown, options)
    finally:
        for number, action in before.items():
            signal.signal(number, action)
    if options.json:
        print(json.dumps({"event": "end", **final.to_dict()}), flush=True)
    return 0


def _watch(handle: StreamHandle, shown: progress.Reporter, options: argparse.Namespace) -> JobStatus:
    due = time.monotonic() + options.every
    final: JobStatus | None = None
    try:
        while final is None:
            final = handle.wait(_SLICE_SECONDS)
            if final is None:
                status = handle.status()
                shown.update(status)
                if options.json and time.monotonic() >= due:
                    due = time.monotonic() + options.every
                    print(json.dumps({"event": "progress", **status.to_dict()}), flush=True)
    finally:
        shown.close(final or handle.status())
    return final


def _path(text: str) -> os.PathLike[str]:
    from pathlib import Path

    return Path(text)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError("expected 0.1 to 3600 seconds")
    return seconds
