"""`frazil audit`: proves what is in a table."""

import argparse
import json
from typing import Any

from frazil.cli import _options


def add(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "audit",
        help="prove which offsets are in a table",
        description="Checks ledgers against snapshots and files: no gap, no overlap, right counts. Exit 0 if clean.",
        allow_abbrev=False,
    )
    parser.add_argument("table", help="namespace.table")
    parser.add_argument("--job", help="only this job")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    _options.add_lake(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    from frazil import _core

    report = _options.open_lake(options).audit(options.table, job=options.job)
    print(json.dumps(report.to_dict(), default=str) if options.json else report)
    return 0 if report.clean else _core.exit_code("AuditError")
