"""A wheel and an editable install, each in a fresh environment of its own, used from another directory.

The environments see the libraries of this one through a .pth file, so that nothing but the project is installed; the
build itself fetches what it needs (hatchling) from the index.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[1]
PRESETS = {"bfr-30-15-15-15", "knee-oa", "occlusion", "passive-5x5"}


def run(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environ, capture_output=True, text=True, timeout=200, check=False
    )


def done(*words: str | Path, cwd: Path) -> str:
    ran = run(*words, cwd=cwd)
    assert ran.returncode == 0, ran.stderr + ran.stdout
    return ran.stdout


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A fresh virtual environment without the project, and its `bin`."""
    done(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv", cwd=tmp_path)
    here = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv")}))
    assert here.is_dir()
    mine = Path(sysconfig.get_path("purelib"))
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    for found in mine.iterdir():  # everything but the project itself, however it is installed here
        if not found.name.lower().startswith(("manchet", "_manchet", "controller", "firmware_bridge", "__editable__")):
            (libraries / found.name).symlink_to(found)
    (here / "libraries.pth").write_text(f"{libraries}\n")
    return tmp_path / "venv" / "bin"


def use(binaries: Path, elsewhere: Path) -> None:
    """What a newcomer does first, from a directory of their own."""
    version = done(binaries / "manchet", "--version", cwd=elsewhere)
    assert version.startswith("manchet 0."), version
    listed = done(binaries / "manchet", "protocols", cwd=elsewhere)
    assert all(name in listed for name in PRESETS), listed
    shown = done(binaries / "manchet", "protocols", "bfr-30-15-15-15", cwd=elsewhere)
    assert "30" in shown
    config = elsewhere / "bench.toml"
    config.write_text((ROOT / "config" / "bench-simulated.toml").read_text())
    done(binaries / "manchet", "check-config", config, cwd=elsewhere)
    short = ROOT / "tests" / "faults" / "short.toml"
    lived = json.loads(done(binaries / "manchet", "simulate", short, "--json", cwd=elsewhere))
    assert lived["outcome"] == "completed"
    wrong = run(binaries / "manchet", "run", "--config", elsewhere / "none.toml", cwd=elsewhere)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr.count("\n") == 1


def install(binaries: Path, folder: Path, *what: str | Path) -> None:
    words = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", binaries / "python")
    done(*words, "install", "--quiet", "--no-deps", *what, cwd=folder)


def where(binaries: Path, elsewhere: Path) -> Path:
    code = "import controller; print(controller.__file__)"
    return Path(done(binaries / "python", "-c", code, cwd=elsewhere).strip())


def test_a_wheel(environment: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path / "dist", ROOT, cwd=elsewhere)
    (wheel,) = (tmp_path / "dist").glob("manchet-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {Path(name).stem for name in names if name.startswith("controller/_config/protocols/")} >= PRESETS
    assert "controller/py.typed" in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"controller", "firmware_bridge"}
    assert not [name for name in names if name.endswith((".pyc", ".sqlite"))]

    install(environment, elsewhere, wheel)
    assert (tmp_path / "venv") in where(environment, elsewhere).parents
    use(environment, elsewhere)


def test_an_editable_install(environment: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    install(environment, elsewhere, "--editable", ROOT)
    assert where(environment, elsewhere) == ROOT / "controller" / "__init__.py"
    use(environment, elsewhere)
