"""The generated documents: a stale one is named, and those in the tree are fresh."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from controller import documents
from controller.core.model import Phase
from controller.core.phases import TRANSITIONS

ROOT = Path(__file__).parents[1]
GENERATED = (
    "controller/CONFIG.md",
    "controller/MQTT.md",
    "controller/core/PHASES.md",
    "tests/golden/messages.schema.json",
    "config/screening-template.toml",
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the documents are made from, in a folder of its own."""
    for name in ("controller", "firmware_bridge", "config", "tests/golden"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def make_documents(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "controller.documents", *words],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.process
def test_a_stale_document_is_named_and_renewed(checkout: Path) -> None:
    fresh = {name: (checkout / name).read_text(encoding="utf-8") for name in GENERATED}
    for name in GENERATED[:-1]:
        with (checkout / name).open("a") as document:
            document.write("Somebody's own words.\n")
    (checkout / GENERATED[-1]).unlink()
    stale = make_documents(checkout, "--check")
    assert stale.returncode == 1
    for name in GENERATED:
        assert Path(name).name in stale.stderr, name
    assert "make docs" in stale.stderr
    assert "Somebody's own words" in (checkout / GENERATED[0]).read_text(), "a check changes nothing"
    assert not (checkout / GENERATED[-1]).exists()

    assert make_documents(checkout).returncode == 0
    assert {name: (checkout / name).read_text(encoding="utf-8") for name in GENERATED} == fresh
    assert make_documents(checkout, "--check").returncode == 0


def test_the_documents_of_the_tree_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert documents.main(["--check"]) == 0, capsys.readouterr().err + "(make docs)"


def test_every_way_of_the_table_is_in_the_diagram() -> None:
    text = documents.phases_md()
    for phase in Phase:
        assert f"| **{phase}** |" in text
    for (phase, event), to in TRANSITIONS.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| **{phase}** |"))
        header = next(line for line in text.splitlines() if line.startswith("| phase |"))
        column = [cell.strip() for cell in header.split("|")].index(str(event).replace("_", " "))
        assert row.split("|")[column].strip() == to
