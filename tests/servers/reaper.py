"""Ends what this process started if this process itself is killed.

A small shell reads the ids of process groups from a pipe. When the pipe closes, for whatever reason, it
kills those that are still on its list. So a killed test run leaves no server behind.
"""

from __future__ import annotations

import contextlib
import os
import subprocess

_SCRIPT = """
trap '' INT TERM HUP
groups=
while read -r verb group; do
  case $verb in
    watch) groups="$groups $group" ;;
    forget) rest=; for g in $groups; do [ "$g" = "$group" ] || rest="$rest $g"; done; groups=$rest ;;
  esac
done
for g in $groups; do kill -s KILL -- "-$g" 2>/dev/null; done
"""

_reaper: subprocess.Popen[str] | None = None
_owner: int | None = None


def watch(group: int) -> None:
    """Kill this process group when this process is gone."""
    global _reaper, _owner
    if _reaper is None or _owner != os.getpid():
        _owner = os.getpid()
        _reaper = subprocess.Popen(
            ["sh", "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
    _tell("watch", group)


def forget(group: int) -> None:
    """This process group has ended; its id may soon belong to somebody else."""
    _tell("forget", group)


def _tell(verb: str, group: int) -> None:
    if _reaper is not None and _reaper.stdin is not None and _owner == os.getpid():
        with contextlib.suppress(BrokenPipeError):
            _reaper.stdin.write(f"{verb} {group}\n")
            _reaper.stdin.flush()
