"""Text for people: sizes, tables in terminals, tables in notebooks. No imports beyond the standard library."""

import html
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_WIDEST = 40


def size(count: float) -> str:
    """A number of bytes, as people write it.

    Example:
        >>> from frazil import _text
        >>> _text.size(1_500_000)
        '1.5 MB'
    """
    for limit, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= limit:
            return f"{count / limit:.1f} {unit}"
    return f"{count:.0f} B"


def one_line(text: str, widest: int = 300) -> str:
    """Text on one line, without control characters, cut where it gets too long."""
    flat = _CONTROL.sub(" ", text).strip()
    return flat if len(flat) <= widest else flat[: widest - 1] + "…"


def time(ms: int | None) -> str:
    """Milliseconds since 1970 as a UTC time."""
    if ms is None:
        return ""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"


def cell(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e15 else repr(value)
    if isinstance(value, bytes):
        return value.hex(" ", 4) if len(value) <= 16 else value[:16].hex(" ", 4) + "…"
    if isinstance(value, (datetime, date)):
        return value.isoformat(" ") if isinstance(value, datetime) else value.isoformat()
    return one_line(str(value), _WIDEST)


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Rows as a plain table; numbers to the right.

    Example:
        >>> from frazil import _text
        >>> print(_text.table(["carrier", "flights"], [["UA", 10], ["B6", 5]]))
        carrier | flights
        --------+--------
        UA      |      10
        B6      |       5
    """
    rows = [list(row) for row in rows]
    right = [
        any(row[at] is not None for row in rows)
        and all(
            row[at] is None or (isinstance(row[at], (int, float)) and not isinstance(row[at], bool)) for row in rows
        )
        for at in range(len(columns))
    ]
    lines = [[one_line(name, _WIDEST) for name in columns], *([cell(value) for value in row] for row in rows)]
    widths = [max(_width(line[at]) for line in lines) for at in range(len(columns))]

    def written(line: Sequence[str]) -> str:
        padded = (
            " " * (width - _width(text)) + text if to_right else text + " " * (width - _width(text))
            for text, width, to_right in zip(line, widths, right, strict=True)
        )
        return " | ".join(padded).rstrip()

    rule = "-+-".join("-" * width for width in widths)
    return "\n".join([written(lines[0]), rule, *(written(line) for line in lines[1:])])


def html_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], caption: str = "") -> str:
    """Rows as an HTML table; everything in it is escaped."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell(value))}</td>" for value in row) + "</tr>" for row in rows)
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def html_pairs(pairs: Mapping[str, Any]) -> str:
    """Names and values as an HTML table of two columns."""
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(one_line(str(value)))}</td></tr>"
        for name, value in pairs.items()
    )
    return f"<table><tbody>{rows}</tbody></table>"
