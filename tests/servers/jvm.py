"""Options of every Java server here: small, quick to start, and its temporary files in its own directory."""

from __future__ import annotations

from pathlib import Path


def java(home: Path, data: Path, *, heap: str = "512m") -> list[str]:
    """The beginning of a command line."""
    return [
        str(home / "bin" / "java"),
        f"-Xmx{heap}",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        f"-Djava.io.tmpdir={data / 'tmp'}",
    ]
