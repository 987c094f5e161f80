"""The journal file: what breaks it, what must not, and what it gives back at boot."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from math import nan
from pathlib import Path
from typing import Any

import msgspec
import pytest

from controller.core.model import EventKind, Happened, Phase, Snapshot
from controller.messages import Event, Origin
from controller.record import journal as journal_module
from controller.record.journal import MEMORY, Journal, JournalVersionError
from controller.record.tables import MIGRATIONS
from controller.record.writer import InlineJournal

Make = Callable[..., Happened]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def stored(journal: Journal, *events: Happened) -> list[tuple[int, bytes]]:
    return journal.store([(1_700_000_000.0, one) for one in events])


def raw(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


# --- broken ----------------------------------------------------------------------------------------------------------


def test_garbage_is_kept_and_a_new_one_begun(path: Path, origin: Origin) -> None:
    path.write_bytes(b"this is not a database, it is a note that somebody saved here" * 100)
    journal = Journal(path, origin)
    assert "cannot be read" in journal.recall().broken
    assert (path.parent / "journal.broken-1.db").read_bytes().startswith(b"this is not")
    assert stored(journal, Happened(EventKind.BOOT, 0.0, Phase.FAULT, None, {}))[0][0] == 1
    journal.close()


def test_second_broken_one_does_not_overwrite_the_first(path: Path, origin: Origin) -> None:
    for number in (1, 2):
        path.write_bytes(b"broken %d" % number * 1000)
        Journal(path, origin).close()
    assert {"journal.broken-1.db", "journal.broken-2.db"} <= {one.name for one in path.parent.iterdir()}


def damage(path: Path, table: str) -> None:
    """Overwrite the root page of a table, as a bad sector does."""
    db = raw(path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size, page = (
        db.execute("PRAGMA page_size").fetchone()[0],
        db.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)).fetchone()[0],
    )
    db.close()
    with path.open("r+b") as file:
        file.seek(size * (page - 1))
        file.write(b"\xa5" * size)


@pytest.mark.parametrize("table", ["events", "limb_clocks", "sessions", "identity", "outbox"])
def test_a_damaged_table_is_put_aside_as_a_damaged_file_is(path: Path, origin: Origin, table: str) -> None:
    journal = Journal(path, origin)
    limb = {"code": "c1", "limb": "leg", "side": "left", "restricted_s": 60.0}
    stored(journal, Happened(EventKind.LIMB_CLOCK, 2.0, Phase.WORKING, 0, limb))
    journal.close()
    damage(path, table)
    journal = Journal(path, origin)
    assert "cannot be read" in journal.recall().broken
    assert not whole(path)
    assert stored(journal, Happened(EventKind.BOOT, 0.0, Phase.FAULT, None, {}))[0][0] == 1
    journal.close()


def test_a_damaged_trace_costs_no_event_and_is_said(
    path: Path, origin: Origin, happened: Make, snapshot: Callable[..., Snapshot]
) -> None:
    journal = Journal(path, origin)
    journal.store(trace=[(1.0, snapshot(number / 10)) for number in range(10)])
    journal.close()
    damage(path, "trace")
    journal = Journal(path, origin)
    desk = InlineJournal(journal, origin.wall_s)
    desk.event(happened(1))
    desk.trace(snapshot(2.0))
    desk.flush()
    assert [notice.condition for notice in desk.notices()] == ["journal_failed"]
    assert not whole(path), "what it does not hold is not known at the next boot"
    assert journal.last_seq == 1
    desk.event(happened(2))
    desk.flush()
    assert journal.last_seq == 2
    desk.close()
    journal.close()


def whole(path: Path) -> bool:
    return path.with_name(f"{path.name}.whole").exists()


def test_what_a_broken_one_held_is_unknown_until_somebody_has_seen_to_it(path: Path, origin: Origin) -> None:
    """However often it is opened since, and whatever ends the process that put it aside."""
    Journal(path, origin).close()
    path.write_bytes(b"torn by a power cut" * 1000)
    for says in ("cannot be read", "does not hold all", "does not hold all"):
        journal = Journal(path, origin)
        assert says in journal.recall().broken
        assert not whole(path)
        journal.close()
    path.unlink()  # put aside, and killed before the new one was begun
    journal = Journal(path, origin)
    assert "gone" in journal.recall().broken
    journal.trust()
    journal.close()
    again = Journal(path, origin)
    assert again.recall().broken == ""
    again.close()


@pytest.mark.parametrize("marked", [True, False])
def test_one_that_was_emptied_is_not_a_first_one(path: Path, origin: Origin, marked: bool) -> None:
    """By somebody who made room, or by a start that was killed before it had written anything."""
    Journal(path, origin).close()
    path.write_bytes(b"")
    if not marked:
        path.with_name(f"{path.name}.whole").unlink()
    for says in ("gone", "does not hold all"):
        journal = Journal(path, origin)
        assert says in journal.recall().broken
        assert not whole(path)
        journal.close()


def test_a_start_that_could_not_begin_a_new_one_leaves_no_trust(
    path: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    Journal(path, origin).close()
    path.unlink()

    def full(db: sqlite3.Connection, _new_id: Any) -> Any:
        db.close()
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(journal_module, "_sound", full)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            Journal(path, origin)
    assert not whole(path)
    again = Journal(path, origin)
    assert again.recall().broken
    again.close()


def test_one_that_is_gone_is_not_a_first_one(path: Path, origin: Origin) -> None:
    first = Journal(path, origin)
    assert first.recall().broken == ""
    assert whole(path)
    first.close()
    path.unlink()
    journal = Journal(path, origin)
    assert "gone" in journal.recall().broken
    assert not whole(path)
    journal.close()


def test_truncated_file_is_noticed(path: Path, origin: Origin, happened: Make) -> None:
    journal = Journal(path, origin)
    for number in range(200):
        stored(journal, happened(number, why="x" * 300))
    journal.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size // 2 // 4096 * 4096)
    again = Journal(path, origin)
    assert again.recall().broken
    again.close()


def test_changed_event_is_noticed(path: Path, origin: Origin, happened: Make) -> None:
    """Somebody with the file, and without the triggers."""
    journal = Journal(path, origin)
    stored(journal, *(happened(number) for number in range(20)))
    journal.close()
    db = raw(path)
    db.execute("DROP TRIGGER events_no_update")
    db.execute("UPDATE events SET payload = x'7b7d' WHERE seq = 8")
    db.close()
    again = Journal(path, origin)
    assert "event 8 was changed" in again.recall().broken
    again.close()


def test_missing_event_is_noticed(origin: Origin, happened: Make, path: Path) -> None:
    journal = Journal(path, origin)
    stored(journal, *(happened(number) for number in range(20)))
    db = raw(path)
    db.execute("DROP TRIGGER events_no_delete")
    db.execute("DELETE FROM events WHERE seq = 5")
    db.close()
    assert "event 5 is missing" in journal.verify()
    journal.close()


def test_newer_version_is_refused_and_left_alone(path: Path, origin: Origin) -> None:
    Journal(path, origin).close()
    db = raw(path)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(JournalVersionError, match="use a newer one"):
        Journal(path, origin)
    assert [one.name for one in path.parent.glob("*broken*")] == []


def test_folder_that_cannot_be_written_is_an_error_and_not_a_broken_file(path: Path, origin: Origin) -> None:
    path.parent.joinpath("file").write_text("")
    with pytest.raises(OSError, match="file"):
        Journal(path.parent / "file" / "journal.db", origin)


@pytest.mark.parametrize("table", ["events", "sessions", "identity"])
@pytest.mark.parametrize("change", ["DELETE FROM {}", "UPDATE {} SET rowid = rowid"])
def test_append_only(path: Path, origin: Origin, happened: Make, table: str, change: str) -> None:
    journal = Journal(path, origin)
    stored(journal, happened(1))
    db = raw(path)
    db.execute("INSERT INTO sessions (code, payload) VALUES ('c', x'00')")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        db.execute(change.format(table))
    db.close()
    journal.close()


def test_full_disk_stores_nothing_and_takes_no_number(origin: Origin, happened: Make, path: Path) -> None:
    journal = Journal(path, origin)
    stored(journal, happened(1))
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        stored(journal, *(happened(number, why="x" * 300) for number in range(100)))
    assert journal.last_seq == 1
    journal._db.execute("PRAGMA max_page_count = 100000")
    assert stored(journal, happened(2))[0][0] == 2
    assert journal.verify() == ""
    journal.close()


# --- kill -9 ---------------------------------------------------------------------------------------------------------

WRITER = """
import sys
from controller.core.model import EventKind, Happened, Phase
from controller.messages import Origin
from controller.record.journal import Journal
journal = Journal(sys.argv[1], Origin("b", "b", lambda: 1.0, lambda: True))
print("open", flush=True)
number = journal.last_seq
while True:
    batch = [(1.0, Happened(EventKind.REPETITION, 0.0, Phase.WORKING, None, {"number": number + i})) for i in (1, 2, 3)]
    for seq, _ in journal.store(batch):
        number = seq
    print(number, flush=True)
"""


@pytest.mark.process
def test_killed_at_any_moment_loses_nothing_committed(path: Path, origin: Origin) -> None:
    """SIGKILL, twenty times, on the same file: what a commit returned for is there, in an unbroken chain."""
    seed = 7
    moments = random.Random(seed)
    committed = 0
    for turn in range(20):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        assert writer.stdout.readline() == "open\n", f"turn {turn}, seed {seed}: the file did not open again"
        until_s = time.monotonic() + moments.uniform(0.0, 0.08)
        while time.monotonic() < until_s:
            committed = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        rest, _ = writer.communicate(timeout=10)
        whole = [line for line in rest.split("\n")[:-1] if line]
        committed = int(whole[-1]) if whole else committed
        journal = Journal(path, origin)
        assert journal.recall().broken == "", f"turn {turn}, seed {seed}"
        assert journal.last_seq >= committed, f"turn {turn}, seed {seed}"
        assert journal.last_seq % 3 == 0, "half a transaction"
        assert journal.verify() == ""
        journal.close()
    assert committed > 100


# --- whole -----------------------------------------------------------------------------------------------------------


def test_numbers_go_on_in_the_next_process(path: Path, origin: Origin, happened: Make) -> None:
    first = Journal(path, origin)
    stored(first, happened(1), happened(2))
    first.close()
    second = Journal(path, origin)
    assert second.journal_id == first.journal_id
    assert [seq for seq, _ in stored(second, happened(3))] == [3]
    assert second.verify() == ""
    second.close()


def test_stored_bytes_are_the_published_ones(path: Path, origin: Origin, happened: Make) -> None:
    journal = Journal(path, origin)
    told = stored(journal, happened(1), happened(2))
    assert journal.events_after(0, 10) == told
    event = msgspec.json.decode(told[1][1], type=Event)
    assert (event.seq, event.journal_id, event.data) == (2, journal.journal_id, {"number": 2})
    journal.close()


def test_cursor_never_goes_back(path: Path, origin: Origin, happened: Make) -> None:
    journal = Journal(path, origin)
    stored(journal, *(happened(number) for number in range(5)))
    journal.store(acknowledged=4)
    journal.store(acknowledged=2)
    assert journal.acknowledged() == 4
    journal.close()


def test_one_fsync_and_durable(path: Path, origin: Origin) -> None:
    journal = Journal(path, origin)
    assert journal._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert journal._db.execute("PRAGMA synchronous").fetchone()[0] == 2, "FULL"
    journal.close()


def test_limb_clocks_come_back_newest(path: Path, origin: Origin, happened: Make) -> None:
    journal = Journal(path, origin)
    for number, side in ((1, "left"), (2, "left"), (3, "right")):
        told = happened(number, kind=EventKind.LIMB_CLOCK, code="c1", limb="leg", side=side, restricted_s=number * 10.0)
        journal.store([(1000.0 + number, told)])
    limbs = {(one.code, one.limb, one.side): (one.restricted_s, one.wall_s) for one in journal.recall().limbs}
    assert limbs == {("c1", "leg", "left"): (20.0, 1002.0), ("c1", "leg", "right"): (30.0, 1003.0)}
    journal.close()


def test_a_limb_clock_is_not_hidden_by_a_wall_clock_that_ran_ahead(path: Path, origin: Origin, happened: Make) -> None:
    journal = Journal(path, origin)
    for number in range(300):
        told = happened(number, EventKind.LIMB_CLOCK, code=f"c{number}", limb="leg", side="left", restricted_s=5.0)
        journal.store([(2e9, told)])
    told = happened(301, EventKind.LIMB_CLOCK, code="now", limb="leg", side="left", restricted_s=1150.0)
    cleared = happened(302, EventKind.LIMB_CLOCK, code="c0", limb="leg", side="left", restricted_s=0.0)
    journal.store([(1e9, told), (1e9, cleared)])
    limbs = {one.code: one.restricted_s for one in journal.recall().limbs}
    assert limbs["now"] == 1150.0
    assert "c0" not in limbs
    assert len(limbs) == 300
    journal.close()


def faults(journal: Journal) -> str:
    fault = journal.recall().fault
    return "" if fault is None else fault.rule


def test_trip_without_reset_is_found_at_boot(path: Path, origin: Origin, happened: Make) -> None:
    journal = Journal(path, origin)
    assert faults(journal) == ""
    stored(
        journal,
        happened(1, EventKind.PHASE, Phase.WORKING),
        happened(2, EventKind.TRIP, Phase.WORKING, rule="over_pressure", text="too high"),
    )
    assert faults(journal) == "over_pressure", "killed between the trip and the phase"
    stored(journal, happened(3, EventKind.PHASE, Phase.FAULT))
    assert faults(journal) == "over_pressure"
    stored(journal, happened(4, EventKind.BOOT, Phase.FAULT), happened(5, EventKind.OPERATOR, Phase.FAULT))
    assert faults(journal) == "over_pressure", "a boot is no reset"
    stored(journal, happened(6, EventKind.PHASE, Phase.IDLE))
    assert faults(journal) == ""
    stored(journal, happened(7, EventKind.PHASE, Phase.FAULT))
    assert journal.recall().fault is not None
    journal.close()


@pytest.mark.parametrize("phase", [Phase.INFLATING, Phase.RESTING, Phase.STOPPING, Phase.TESTING])
def test_what_a_program_left_in_the_middle_is_a_fault_at_boot(
    path: Path, origin: Origin, happened: Make, phase: Phase
) -> None:
    journal = Journal(path, origin)
    stored(journal, happened(1, EventKind.PHASE, phase))
    fault = journal.recall().fault
    assert fault is not None
    assert fault.text == f"the program ended while {phase}: look at the limb"
    stored(journal, happened(2, EventKind.BOOT, Phase.FAULT))
    assert journal.recall().fault is not None, "until a person resets it"
    stored(journal, happened(3, EventKind.PHASE, Phase.IDLE))
    assert journal.recall().fault is None
    journal.close()


def test_trace_keeps_what_was_measured(path: Path, origin: Origin, snapshot: Callable[..., Snapshot]) -> None:
    journal = Journal(path, origin)
    journal.store(trace=[(1000.0, snapshot(0.1, 150.04, cuffs=2)), (1000.1, snapshot(0.2, nan))])
    rows = journal._db.execute("SELECT at_ms, cuff, a_dmmhg, target_dmmhg, phase FROM trace").fetchall()
    assert rows == [(100, 1, 1500, 1500, "working"), (100, 2, 1500, 1500, "working"), (200, 1, None, 1500, "working")]
    journal.close()


def test_trace_is_pruned_after_90_days(origin: Origin, snapshot: Callable[..., Snapshot]) -> None:
    journal = Journal(MEMORY, origin)
    day_s = 86_400.0
    journal.store(trace=[(day * day_s, snapshot(0.1)) for day in range(100)])
    assert journal.prune(100 * day_s) == 10
    assert journal.prune(100 * day_s) == 0
    journal.close()


def test_rows_of_a_clock_that_was_ahead_keep_no_old_ones(
    origin: Origin, snapshot: Callable[..., Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_PRUNED_AT_ONCE", 5)
    journal, day_s = Journal(MEMORY, origin), 86_400.0
    for wall_s in (4e9, 0.0, 99 * day_s):
        journal.store(trace=[(wall_s, snapshot(number / 10)) for number in range(10)])
    assert [journal.prune(100 * day_s) for _ in range(3)] == [5, 5, 0]
    journal.close()


def test_nothing_is_pruned_on_the_word_of_an_unset_clock(snapshot: Callable[..., Snapshot]) -> None:
    journal = Journal(MEMORY, Origin("b", "b", lambda: 0.0, lambda: False))
    journal.store(trace=[(0.0, snapshot(0.1))])
    assert journal.prune(1e9) == 0
    journal.close()


def test_migrations_from_every_version(path: Path, origin: Origin, monkeypatch: Any) -> None:
    """A file of an older version is brought up to date, and what was in it stays."""
    Journal(path, origin).close()
    monkeypatch.setattr(
        "controller.record.journal.MIGRATIONS", (*MIGRATIONS, "CREATE TABLE later (one INTEGER) STRICT;")
    )
    journal = Journal(path, origin)
    assert journal._db.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS) + 1
    assert journal._db.execute("SELECT count(*) FROM later").fetchone()[0] == 0
    journal.close()


def test_only_sessions_in_which_a_cuff_came_to_its_target_are_recalled(path: Path, origin: Origin) -> None:
    """For the weekly limit: not one that tripped while inflating, but one whose second set never came."""
    journal = Journal(path, origin)
    started, counts, ended = EventKind.STARTED, EventKind.INFLATION, EventKind.SESSION_ENDED
    story = [(started, "S-1"), (ended, ""), (started, "S-2"), (counts, ""), (counts, ""), (ended, ""), (started, "S-3"),
             (EventKind.SET_BEGAN, ""), (started, "S-4")]  # fmt: skip
    for kind, code in story:
        stored(journal, Happened(kind, 1.0, Phase.INFLATING, None, {"code": code, "protocol": "p"}))
    assert [(one.code, one.protocol) for one in journal.recall().began] == [("S-3", "p"), ("S-2", "p")]
    journal.close()
