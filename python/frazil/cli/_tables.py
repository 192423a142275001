"""`frazil tables`: the tables of a lake, or one of them."""

import argparse
import json
from typing import Any

from frazil.cli import _options


def add(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "tables", help="list tables, or describe one", description="Lists tables.", allow_abbrev=False
    )
    parser.add_argument("table", nargs="?", help="describe this table")
    parser.add_argument("--json", action="store_true", help="one JSON object a table")
    _options.add_lake(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    lake = _options.open_lake(options)
    if options.table:
        table = lake.table(options.table)
        print(json.dumps({"table": table.name, **table.info}, default=str) if options.json else table)
        return 0
    for name in lake.tables():
        print(json.dumps({"table": name}) if options.json else name)
    return 0
