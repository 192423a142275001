"""The command line: `frazil run`, `demo`, `sql`, `tables`, `audit`, `schema`.

Results go to stdout, progress and errors to stderr. The exit code is 0, 2 for a wrong call, 130 after a second
Ctrl-C, or one for each kind of error (`_core.exit_code`).
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from frazil import _text
from frazil.cli import _audit, _demo, _run, _schema, _sql, _tables
from frazil.exceptions import FrazilError

_COMMANDS = (_run, _demo, _sql, _tables, _audit, _schema)


class _Version(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, **_: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from frazil import _core

        print(f"frazil {_core.__version__}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The arguments of every command."""
    made = argparse.ArgumentParser(
        prog="frazil", description="Kafka into Apache Iceberg tables, each record exactly once.", allow_abbrev=False
    )
    made.add_argument("--version", action=_Version)
    commands = made.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in _COMMANDS:
        module.add(commands)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command.

    Args:
        arguments: What stands behind `frazil`; by default the process's own.

    Returns:
        The exit code.
    """
    options = parser().parse_args(arguments)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except FrazilError as error:
        return _failed(error, getattr(options, "json", False))
    except ImportError as error:  # An optional package; its message says what to install.
        if error.name is not None and error.name.startswith("frazil"):
            raise
        print(f"frazil: {_text.one_line(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("frazil: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, a closed pager) has gone; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


def _failed(error: FrazilError, as_json: bool) -> int:
    from frazil import _core

    kind = type(error).__name__
    # The base class alone has no code of its own: what failed could not say its kind.
    code = 1 if type(error) is FrazilError else _core.exit_code(kind)
    if as_json:
        found = {"error": kind, "message": str(error), "context": error.context}
        print(json.dumps({"event": "error", **found, "retryable": error.retryable, "exit_code": code}, default=str))
        sys.stdout.flush()
    print(f"frazil: {kind}: {_text.one_line(' '.join(str(error).split()), 2000)}", file=sys.stderr)
    return code
