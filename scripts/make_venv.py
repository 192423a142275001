"""Makes the virtual environment of the project, once: ``python scripts/make_venv.py DIRECTORY REQUIREMENTS``.

The file ``.complete`` in it says that nothing is missing. Only the standard library is used here.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

OLDEST = (3, 11)


def main(home: Path, requirements: Path) -> None:
    """Make the environment, unless it is complete."""
    if sys.version_info < OLDEST:
        sys.exit(
            f"Python {'.'.join(map(str, OLDEST))} or later is needed, this is {sys.version.split()[0]}: set PYTHON"
        )
    home.parent.mkdir(parents=True, exist_ok=True)
    with open(home.parent / ".venv.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (home / ".complete").exists():
            return
        shutil.rmtree(home, ignore_errors=True)
        print(f"making {home}", flush=True)
        # pip stays in it: the servers of the tests are installed with it.
        venv.create(home, with_pip=True, symlinks=True)
        install(home, requirements)
        (home / ".complete").touch()


def install(home: Path, requirements: Path) -> None:
    """Install with uv, which takes seconds; with pip where uv cannot reach what pip can."""
    python = str(home / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    uv = re.search(r"^uv==\S+", requirements.read_text(), re.MULTILINE)
    if uv and subprocess.run([*pip, uv[0]]).returncode == 0:
        quick = [str(home / "bin" / "uv"), "pip", "install", "--quiet", "--python", python, "-r", str(requirements)]
        cached = {"UV_CACHE_DIR": str(home.parent / "uv"), **os.environ}
        if subprocess.run(quick, env=cached).returncode == 0:
            return
        print("uv failed: once more with pip", flush=True)
    subprocess.run([*pip, "-r", str(requirements)], check=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]))
