"""A board on a desk, and a host at it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pico_board import Host, Pico, needed_micropython


@pytest.fixture
def pico() -> Iterator[Pico]:
    """A board that is not yet plugged in."""
    needed_micropython()
    # In memory where there is such a place: its lines and sensors are files, and a disk may be busy.
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="mp", dir=memory) as name:
        board = Pico(Path(name))
        yield board
        board.end()


@pytest.fixture
def host(pico: Pico) -> Iterator[Host]:
    """A host at a board that is plugged in."""
    pico.plug()
    at = Host(pico)
    yield at
    at.transport.close()
