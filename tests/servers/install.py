"""Downloads, once per machine: Maven artifacts, Python packages, and the JDK to run them with.

Everything is kept under ``${FRAZIL_CACHE:-$HOME/.cache/frazil}/servers``. An installation is built in a
temporary directory and renamed when complete, under one lock for all processes, so a half-done download
is never used and two test runs never download the same thing side by side (Maven's local repository
does not allow that).
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from . import versions


class Unavailable(Exception):
    """This machine lacks something that a server needs. The message says what."""


def cache_dir() -> Path:
    """Where downloads are kept between runs."""
    return Path(os.environ.get("FRAZIL_CACHE") or Path.home() / ".cache" / "frazil") / "servers"


@contextlib.contextmanager
def _install_lock() -> Iterator[None]:
    cache_dir().mkdir(parents=True, exist_ok=True)
    with open(cache_dir() / ".lock", "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def install(name: str, contents: str, build: Callable[[Path], None]) -> Path:
    """The directory of the installation that ``contents`` describes, built by ``build`` if it is not there."""
    home = cache_dir() / f"{name}-{hashlib.sha256(contents.encode()).hexdigest()[:12]}"
    if home.is_dir():
        return home
    with _install_lock():
        if home.is_dir():
            return home
        partial = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=cache_dir()))
        try:
            build(partial)
            partial.rename(home)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return home


def run(command: list[str], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> None:
    """Run a command to its end; its output is the error's message if it fails."""
    done = subprocess.run(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} exited {done.returncode}:\n{done.stdout[-4000:]}")


def maven_jars(target: Path, *coordinates: str) -> None:
    """Copy artifacts (``group:artifact:version[:classifier]``) and all that they need at run time to ``target``."""
    (target / "pom.xml").write_text(_pom(coordinates))
    _maven(
        f"org.apache.maven.plugins:maven-dependency-plugin:{versions.MAVEN_DEPENDENCY_PLUGIN}:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={target}",
        cwd=target,
    )


def maven_file(target: Path, coordinate: str) -> None:
    """Copy one artifact (``group:artifact:version[:packaging[:classifier]]``), without what it depends on."""
    _maven(
        f"org.apache.maven.plugins:maven-dependency-plugin:{versions.MAVEN_DEPENDENCY_PLUGIN}:copy",
        f"-Dartifact={coordinate}",
        f"-DoutputDirectory={target}",
        cwd=target,
    )


def python_packages(target: Path, *requirements: str, dependencies: bool = True) -> None:
    """Install Python packages into ``target``, for use through ``PYTHONPATH``."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, *([] if dependencies else ["--no-deps"]), "--target", str(target), *requirements])


def _maven(*arguments: str, cwd: Path) -> None:
    if shutil.which("mvn") is None:
        raise Unavailable("Maven (mvn) is not on the PATH")
    run(["mvn", "-B", "-q", "-ntp", *arguments], cwd=cwd)


def _pom(coordinates: tuple[str, ...]) -> str:
    dependencies = ""
    for coordinate in coordinates:
        group, artifact, version, *classifier = coordinate.split(":")
        extra = f"<classifier>{classifier[0]}</classifier>" if classifier else ""
        dependencies += (
            f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>"
            f"<version>{version}</version>{extra}</dependency>\n"
        )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>\n'
        "<groupId>frazil.tests</groupId><artifactId>server</artifactId><version>1</version><packaging>pom</packaging>\n"
        f"<dependencies>\n{dependencies}</dependencies></project>\n"
    )


def jdk(minimum: int) -> Path:
    """The home of the oldest JDK on this machine that is at least version ``minimum``."""
    found = _jdks()
    fitting = [(version, home) for version, home in found if version >= minimum]
    if not fitting:
        have = ", ".join(str(version) for version, _ in found) or "none"
        raise Unavailable(f"needs a JDK of version {minimum} or later; found: {have}")
    return fitting[0][1]


@cache
def _jdks() -> tuple[tuple[int, Path], ...]:
    homes = {Path(os.environ["JAVA_HOME"])} if os.environ.get("JAVA_HOME") else set()
    if on_path := shutil.which("javac"):
        homes.add(Path(on_path).resolve().parent.parent)
    for parent, below in (
        ("/usr/lib/jvm", "*"),
        ("/Library/Java/JavaVirtualMachines", "*/Contents/Home"),
        ("~/.sdkman/candidates/java", "*"),
    ):
        homes.update(Path(parent).expanduser().glob(below))
    found = {(version, home.resolve()) for home in homes if (version := _jdk_version(home)) is not None}
    return tuple(sorted(found))


def _jdk_version(home: Path) -> int | None:
    if not (home / "bin" / "javac").exists():
        return None
    with contextlib.suppress(OSError):
        if match := re.search(r'^JAVA_VERSION="(\d+)', (home / "release").read_text(), re.MULTILINE):
            return int(match[1])
    answer = subprocess.run([home / "bin" / "java", "-version"], capture_output=True, text=True).stderr
    match = re.search(r'version "(\d+)', answer)
    return int(match[1]) if match else None
