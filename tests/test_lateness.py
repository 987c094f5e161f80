"""The tests' own measure: what this process did counts in full, what the machine did does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lateness import Cores, Lateness


def said(tasks: Path, **waited_ns: int) -> None:
    for name, ns in waited_ns.items():
        (tasks / name).mkdir(exist_ok=True)
        (tasks / name / "schedstat").write_text(f"123456789 {ns} 42\n")


def test_a_loop_that_is_held_up_is_late() -> None:
    """With what this machine's kernel says: a connect that blocks the loop waits for no core."""
    lateness = Lateness()
    lateness.tick(5.0, 5.5)
    assert lateness.at_most_s > 0.1


def test_a_wait_for_a_core_is_the_machines(tmp_path: Path) -> None:
    said(tmp_path, t1=1_000_000_000, t2=0)
    lateness = Lateness(Cores(tmp_path))
    said(tmp_path, t1=1_150_000_000, t2=20_000_000, t3=10_000_000)
    due_s = lateness.tick(5.0, 5.195)
    assert lateness.at_most_s == pytest.approx(0.015)
    assert due_s == 5.195
    lateness.tick(due_s + 0.01, due_s + 0.05)  # nothing more was waited: this one is ours
    assert lateness.at_most_s == pytest.approx(0.04)


def test_a_thread_that_ended_takes_nothing_back(tmp_path: Path) -> None:
    said(tmp_path, t1=0, t2=900_000_000)
    cores = Cores(tmp_path)
    (tmp_path / "t2" / "schedstat").unlink()
    said(tmp_path, t1=50_000_000)
    assert cores.waited_s() == pytest.approx(0.05)
    assert cores.waited_s() == 0.0


def test_what_a_test_does_itself_is_not_the_loops(tmp_path: Path) -> None:
    now = iter([5.02, 5.17])
    lateness = Lateness(Cores(tmp_path / "none"), lambda: next(now))
    with lateness.apart():
        pass
    due_s = lateness.tick(5.0, 5.18)
    assert lateness.at_most_s == pytest.approx(0.03)
    lateness.tick(due_s, due_s + 0.15)  # once
    assert lateness.at_most_s == pytest.approx(0.15)


def test_where_the_kernel_says_nothing_all_of_it_is_ours(tmp_path: Path) -> None:
    lateness = Lateness(Cores(tmp_path / "none"))
    lateness.tick(1.0, 1.3)
    assert lateness.at_most_s == pytest.approx(0.3)
