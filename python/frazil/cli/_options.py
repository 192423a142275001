"""Options that several commands share: which lake, and `path=value`."""

import argparse
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from frazil._optional import need
from frazil.exceptions import ConfigError, NotFoundError
from frazil.lake import Lake, connect, local

# Below these keys of a job document names are free and may hold dots.
_FREE = ("properties", "headers")


def add_lake(parser: argparse.ArgumentParser) -> None:
    """Adds `--lake` and `--catalog-set`."""
    parser.add_argument(
        "--lake",
        metavar="LAKE",
        default=None,
        help="a directory, a catalog's URL, or a YAML file of settings (by default $FRAZIL_LAKE, else ./lake)",
    )
    parser.add_argument(
        "--catalog-set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="a setting of the catalog: warehouse=…, storage.endpoint=…, 'token=${env:TOKEN}'; may be repeated",
    )


def open_lake(options: argparse.Namespace) -> Lake:
    """Opens the lake that the options name."""
    location = options.lake or os.environ.get("FRAZIL_LAKE") or "./lake"
    if location.endswith((".yaml", ".yml", ".json")) and "://" not in location:
        settings = yaml_mapping(read(location), location)
    else:
        settings = {"catalog": local(location)}
    for key, value in assignments(options.catalog_set, "--catalog-set"):
        # Only path_style is not text; a token of digits must stay one.
        put(settings, key, value == "true" if key == "storage.path_style" else value, "--catalog-set")
    return connect(settings)


def read(path: str) -> str:
    """A text file.

    Raises:
        NotFoundError: If it is not there.
    """
    try:
        return Path(path).expanduser().read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"there is no file '{path}'", {"path": path}) from None
    except (IsADirectoryError, UnicodeDecodeError):
        raise ConfigError(f"expected a text file in UTF-8 at '{path}'", {"path": path}) from None


def yaml_mapping(text: str, where: str) -> dict[str, Any]:
    """A mapping from YAML or JSON text."""
    from frazil import _core

    try:
        found = json.loads(text)
    except ValueError:
        # The core reads YAML its own way; PyYAML's is near enough where an extension does not offer it.
        parse = getattr(_core, "parse_yaml", None)
        found = parse(text) if parse is not None else _pyyaml(text, where)
    if not isinstance(found, dict):
        raise ConfigError(f"{where}: expected a mapping")
    return found


def _pyyaml(text: str, where: str) -> Any:
    yaml = need("yaml", "changing a YAML document", "pyyaml")
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: this is not YAML: {error}") from None


def assignments(texts: Iterable[str], option: str) -> list[tuple[str, str]]:
    """Splits each `key=value`."""
    found = []
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key.strip():
            raise ConfigError(f"{option}: expected path=value, found '{key}'")
        found.append((key.strip(), value))
    return found


def value_of(text: str) -> Any:
    """A value: JSON where it is JSON (numbers, true, lists, quoted text), else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def put(document: dict[str, Any], path: str, value: Any, option: str = "--set") -> None:
    """Sets a value deep in a document; what is missing on the way is made.

    Example:
        >>> from frazil.cli._options import put
        >>> document = {"sink": {"partition_by": ["day(ts)"]}}
        >>> put(document, "sink.partition_by[0]", "hour(ts)")
        >>> put(document, "source.kafka.properties.fetch.min.bytes", "1")
        >>> document
        {'sink': {'partition_by': ['hour(ts)']}, 'source': {'kafka': {'properties': {'fetch.min.bytes': '1'}}}}
    """
    keys = _keys(path)
    here: Any = document
    for at, key in enumerate(keys):
        last = at == len(keys) - 1
        if isinstance(here, list):
            if not isinstance(key, int) or not 0 <= key < len(here):
                raise ConfigError(f"{option}: {path}: expected a position from 0 to {len(here) - 1}, found '{key}'")
        elif not isinstance(here, dict) or isinstance(key, int):
            raise ConfigError(f"{option}: {path}: there is nothing to set '{key}' in")
        if last:
            here[key] = value
        elif isinstance(here, dict):
            if not isinstance(here.get(key), (dict, list)):
                # `lake: ./lake` and `registry: http://…` are short for a mapping; setting a part of one spells it out.
                short = {"lake": "catalog", "registry": "url"}.get(str(key))
                text = here.get(key)
                here[key] = {short: text} if short and isinstance(text, str) else {}
            here = here[key]
        else:
            here = here[key]


def _keys(path: str) -> list[str | int]:
    keys: list[str | int] = []
    rest = path
    while rest:
        if keys and keys[-1] in _FREE:
            return [*keys, rest]
        found = re.match(r"([^.\[\]]+)|\[(\d+)\]", rest)
        if found is None:
            raise ConfigError(f"--set: cannot read the path '{path}'; expected names, dots and [positions]")
        keys.append(found.group(1) if found.group(1) is not None else int(found.group(2)))
        rest = rest[found.end() :].removeprefix(".")
    return keys
