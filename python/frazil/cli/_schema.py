"""`frazil schema`: the JSON Schema of the job document, for editors and checks."""

import argparse
import json
from typing import Any


def add(commands: Any) -> None:
    """Adds the command."""
    parser = commands.add_parser(
        "schema", help="print the JSON Schema of a job", description="Prints the job's JSON Schema.", allow_abbrev=False
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Runs the command."""
    from frazil import _core

    print(json.dumps(_core.job_schema(), indent=2))
    return 0
