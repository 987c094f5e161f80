"""One controller per bench and machine, and what is left when one dies."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.bedside.lock import BenchLock, BenchTaken, clear_dead_socket

BENCH = f"test-{os.getpid()}"  # a name of the whole machine: not that of another test run


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="mb") as name:
        yield Path(name)


def test_a_second_controller_of_the_same_bench_is_refused_with_a_sentence(folder: Path) -> None:
    with BenchLock(folder, BENCH), pytest.raises(BenchTaken) as refused:
        BenchLock(folder, BENCH)
    assert f"bench_id = {BENCH}: is controlled already by process {os.getpid()}" in str(refused.value)
    assert "stop that one first" in str(refused.value)
    with BenchLock(folder, BENCH):
        pass  # and afterwards it is free


@pytest.mark.skipif(sys.platform != "linux", reason="the name in the abstract socket space is Linux's")
def test_a_second_controller_with_another_runtime_folder_is_refused_too(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    with BenchLock(folder, BENCH), pytest.raises(BenchTaken, match="is controlled already"):
        BenchLock(other, BENCH)


def test_another_bench_of_the_same_machine_is_welcome(folder: Path) -> None:
    with BenchLock(folder, BENCH), BenchLock(folder, f"{BENCH}-2"):
        pass


@pytest.mark.process
def test_a_killed_controller_holds_nothing(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from controller.bedside.lock import BenchLock; "
        f"lock = BenchLock(Path({str(folder)!r}), {BENCH!r}); print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BenchTaken, match=f"by process {holder.pid} "):
            BenchLock(folder, BENCH)
        holder.kill()
    with BenchLock(folder, BENCH) as lock:
        assert lock.path.read_text() == str(os.getpid())


def test_a_lock_file_that_is_a_link_is_not_followed(folder: Path) -> None:
    (folder / "precious").write_text("keep")
    (folder / f"{BENCH}.lock").symlink_to(folder / "precious")
    with pytest.raises(OSError, match="symbolic"):
        BenchLock(folder, BENCH)
    assert (folder / "precious").read_text() == "keep"


def test_there_may_be_nothing_to_clear(folder: Path) -> None:
    clear_dead_socket(folder / "none.sock")
