"""The wheel, built and installed as a user would, in an environment that has nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout. Cargo has built what is in it already."""
    target = tmp_path_factory.mktemp("wheel")
    command = [str(BIN / "maturin"), "build", "--release", "--locked", "--quiet", "--out", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "VIRTUAL_ENV": str(BIN.parent)}, timeout=1800)
    (built,) = target.glob("*.whl")
    return built


@pytest.mark.timeout(1800)
def test_one_wheel_fits_every_python_from_3_11(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    for needed in ("frazil/__init__.py", "frazil/_core.abi3.so", "frazil/_core.pyi", "frazil/py.typed"):
        assert needed in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith(("tests/", "rust/"))]


def test_the_installed_wheel_works_without_any_extra(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, str(wheel)], check=True, env=clean)
    script = [str(home / "bin" / "frazil"), "--version"]
    shown = subprocess.run(script, check=True, capture_output=True, text=True, cwd=tmp_path, env=clean)
    assert wheel.name.split("-")[1] in shown.stdout
    code = "import frazil; print(frazil.connect('lake').tables())"
    run = [str(home / "bin" / "python"), "-c", code]
    listed = subprocess.run(run, check=True, capture_output=True, text=True, cwd=tmp_path, env=clean)
    assert listed.stdout.strip() == "[]"
