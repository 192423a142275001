"""`frazil sql`: a query over the tables of a lake."""

import argparse
import base64
import csv
import json
import sys
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

from frazil import _text
from frazil._arrow import _rows
from frazil.cli import _options


def add(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser("sql", help="query tables", description="Runs a query.", allow_abbrev=False)
    parser.add_argument("query", help="the query, '-' for stdin")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object a row")
    form.add_argument("--csv", action="store_true", help="CSV with a head line")
    _options.add_lake(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    query = sys.stdin.read() if options.query == "-" else options.query
    reader = _options.open_lake(options).sql(query)._reader()
    columns = list(reader.schema.names)
    if options.json:
        for row in _rows(reader):
            print(json.dumps(dict(zip(columns, map(plain, row), strict=True)), ensure_ascii=False))
    elif options.csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        for row in _rows(reader):
            writer.writerow(["" if value is None else _csv(plain(value)) for value in row])
    else:
        rows = list(_rows(reader))
        print(_text.table(columns, rows))
        print(f"({len(rows):,} row{'' if len(rows) == 1 else 's'})", file=sys.stderr)
    return 0


def plain(value: Any) -> Any:
    """A value as JSON can write it: decimals and times as text, bytes as base64."""
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, (bytes, memoryview)):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, (Decimal, UUID)):
        return str(value)
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (str, int)):
        return value
    return str(value)


def _csv(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value
