"""Imports of packages that only some calls need, and what to install when one is missing."""

import importlib
from typing import Any


def need(module: str, purpose: str, install: str | None = None) -> Any:
    """Imports a package when it is needed.

    Args:
        module: The module to import.
        purpose: What it is needed for, for the message.
        install: What to install, if not the module's own name.

    Raises:
        ImportError: With the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise
        package = install or module.partition(".")[0]
        message = f'{purpose} needs {module}, which is not installed: pip install "{package}"'
        raise ImportError(message, name=module) from None
