"""What the tick writes to: a disk that is full, gone, hung or low, and an event that cannot be stored."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.core.model import EventKind, Happened, Notice, Phase, Snapshot
from controller.messages import Origin
from controller.record import journal as journal_module
from controller.record.journal import MEMORY, Journal
from controller.record.writer import EVENTS_WAITING_MAX, TRACE_STUCK, InlineJournal, JournalThread

Make = Callable[..., Happened]


class Disk:
    """Stands between the desk and its journal: full, hung, or out of the way."""

    def __init__(self, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.fails: Exception | None = None  # with something that nobody foresaw
        self.hung = threading.Event()
        self.hung.set()
        self.waited_for = False
        self._store = journal.store
        monkeypatch.setattr(journal, "store", self.store)

    def store(self, *arguments: Any, **named: Any) -> Any:
        if not self.hung.wait(20.0):
            self.waited_for = True
            raise OSError("this disk hung longer than a test may take")
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        if self.fails is not None:
            raise self.fails
        return self._store(*arguments, **named)


@pytest.fixture
def journal(tmp_path: Path, origin: Origin) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.db", origin)
    yield made
    made.close()


@pytest.fixture
def desk(journal: Journal, origin: Origin) -> Iterator[InlineJournal]:
    made = InlineJournal(journal, origin.wall_s)
    yield made
    made.close()


@pytest.fixture
def thread(journal: Journal, origin: Origin) -> Iterator[JournalThread]:
    made = JournalThread(journal, origin.wall_s)
    yield made
    made.close(10.0)


def conditions(desk: InlineJournal | JournalThread) -> list[str]:
    return [notice.condition for notice in desk.notices()]


def published(desk: InlineJournal) -> list[int]:
    """Take all that can be published, as a broker does that acknowledges at once."""
    seqs = []
    while (event := desk.next_event()) is not None:
        seqs.append(event[0])
        desk.acknowledged(event[0])
    return seqs


# --- a bad disk ------------------------------------------------------------------------------------------------------


def test_full_disk_keeps_events_in_memory(
    desk: InlineJournal, journal: Journal, happened: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(journal, monkeypatch)
    disk.full = True
    for number in range(500):
        desk.event(happened(number))
    assert not desk.flush()
    assert conditions(desk) == ["journal_failed"]
    assert desk.next_event() is None, "what is not on the disk is not published"
    disk.full = False
    assert desk.flush()
    assert conditions(desk) == []
    assert published(desk) == list(range(1, 501))


def whole(journal: Journal) -> bool:
    assert journal.path is not None
    return journal.path.with_name(f"{journal.path.name}.whole").exists()


def test_while_the_disk_refuses_the_next_boot_would_know(
    desk: InlineJournal, journal: Journal, happened: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(journal, monkeypatch)
    assert whole(journal)
    disk.full = True
    desk.event(happened(1))
    desk.flush()
    assert not whole(journal)
    disk.full = False
    desk.flush()
    assert whole(journal), "all of it is there after all"
    disk.full = True
    for number in range(EVENTS_WAITING_MAX + 1):
        desk.event(happened(number))
    desk.flush()
    disk.full = False
    desk.flush()
    assert not whole(journal), "one is lost for good"


def test_a_past_that_is_unknown_stays_so_until_it_is_said_to_matter_no_longer(
    tmp_path: Path, origin: Origin, happened: Make
) -> None:
    (tmp_path / "journal.db").write_bytes(b"torn" * 1000)
    journal = Journal(tmp_path / "journal.db", origin)
    desk = InlineJournal(journal, origin.wall_s)
    desk.event(happened(1))
    desk.flush()
    assert not whole(journal)
    desk.past_known()
    desk.flush()
    assert whole(journal)
    desk.close()


def test_a_folder_that_takes_no_mark_is_a_failing_journal(
    desk: InlineJournal, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses() -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(journal, "trust", refuses)
        desk._whole = False
        desk.flush()
        assert conditions(desk) == ["journal_failed"]
    desk.event(Happened(EventKind.BOOT, 0.0, Phase.IDLE, None, {}))
    desk.flush()
    assert conditions(desk) == []
    assert whole(journal)


def test_a_mark_that_could_be_begun_and_not_made_is_taken_away(
    desk: InlineJournal, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk with room for a name and for nothing else; and one that lets go at the second try."""

    def begun() -> None:
        trust()
        raise OSError(28, "No space left on device")

    trust = journal.trust
    monkeypatch.setattr(journal, "trust", begun)
    desk._whole = False
    desk.flush()
    assert not whole(journal)
    trust()  # as if it could not be taken away before
    desk.flush()
    assert not whole(journal)


@pytest.mark.process
def test_a_disk_that_is_slow_to_close_has_lost_nothing(
    thread: JournalThread, journal: Journal, happened: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = threading.Event()
    close = journal.close
    monkeypatch.setattr(journal, "close", lambda: (slow.wait(20.0), close()))
    thread.event(happened(1))
    assert thread.close(0.5), "it is stored"
    assert whole(journal)
    slow.set()
    thread._thread.join(20.0)


def test_beyond_a_thousand_events_are_counted_as_lost(
    desk: InlineJournal, journal: Journal, happened: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(journal, monkeypatch)
    disk.full = True
    for number in range(EVENTS_WAITING_MAX + 7):
        desk.event(happened(number))
        if number == 600:
            desk.flush()
    desk.flush()
    lost = {notice.condition: notice.value for notice in desk.notices()}
    assert lost == {"journal_failed": EVENTS_WAITING_MAX, "journal_events_lost": 7}
    disk.full = False
    desk.flush()
    assert conditions(desk) == ["journal_events_lost"], "it stays said"
    assert published(desk) == list(range(1, EVENTS_WAITING_MAX + 1)), "no number is taken by what was lost"
    assert journal.verify() == ""


def test_what_stands_is_said_also_when_the_trace_waits_for_the_disk(
    thread: JournalThread, snapshot: Callable[..., Snapshot], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else an alarm would clear while it stands, and a full disk be one that does not answer."""
    thread.close(10.0)
    full = Notice("journal_failed", 3.0, 1000.0, "events", "database or disk is full")
    low = Notice("disk_low", 1, 200, "MB")
    for number in range(TRACE_STUCK):
        thread.trace(snapshot(number / 10))
    for standing, said in (
        ((low,), ["disk_low", "journal_failed"]),
        ((full, low), ["journal_failed", "disk_low"]),
    ):
        monkeypatch.setattr(thread, "_notices", standing)
        assert conditions(thread) == said
    assert thread.notices() == (full, low)
    assert thread.notices() is thread.notices()


def test_really_full_file(desk: InlineJournal, journal: Journal, happened: Make) -> None:
    """SQLite's own refusal, not ours."""
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count = {pages}")
    for number in range(300):
        desk.event(happened(number, why="x" * 300))
    assert not desk.flush()
    assert conditions(desk) == ["journal_failed"]
    journal._db.execute("PRAGMA max_page_count = 1000000")
    assert desk.flush()
    assert len(published(desk)) == 300


def test_file_gone_under_us_stops_nobody(journal: Journal, origin: Origin, happened: Make) -> None:
    """The connection is closed as by a disk that was pulled: every call still returns."""
    desk = InlineJournal(journal, origin.wall_s)
    journal.close()
    desk.event(happened(1))
    assert not desk.flush() or conditions(desk)
    assert conditions(desk)


def test_event_that_cannot_be_stored_holds_up_no_other(desk: InlineJournal, happened: Make) -> None:
    desk.event(happened(1))
    desk.event(Happened(EventKind.LIMB_CLOCK, 2.0, Phase.WORKING, 0, {"code": "c1"}))  # no limb, no side
    desk.event(happened(3))
    desk.flush()
    assert published(desk) == [1, 2]
    assert "journal_events_lost" in conditions(desk)


def test_low_disk(journal: Journal, origin: Origin, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(journal_module.shutil, "disk_usage", lambda _: usage(10**9, 10**9, 199_000_000))
    desk = InlineJournal(journal, origin.wall_s)
    (notice,) = desk.notices()
    assert (notice.condition, notice.value, notice.limit, notice.unit) == ("disk_low", 199, 200, "MB")
    desk.close()


@pytest.mark.process
def test_hung_disk_holds_up_nobody(
    thread: JournalThread, journal: Journal, happened: Make, snapshot: Callable[..., Snapshot], monkeypatch: Any
) -> None:
    disk = Disk(journal, monkeypatch)
    disk.hung.clear()
    told = [(happened(number), snapshot(number / 10)) for number in range(2000)]
    began_s = time.thread_time()
    for event, seen in told:
        thread.event(event)
        thread.trace(seen)
    took_s = time.thread_time() - began_s  # of this thread: what else the machine does is not the call's
    print(f"{took_s / 4000 * 1e6:.1f} us a call")
    assert took_s / 4000 < 50e-6, "a call of the tick's is microseconds of work"
    assert not disk.waited_for, "a call that waits for this disk takes all of its 20 s"
    assert len(thread._trace) > TRACE_STUCK
    assert conditions(thread) == ["journal_failed"]
    assert not thread.close(0.2), "a disk that hangs does not hold up the end"
    assert not whole(journal), "and what it did not take is unknown at the next boot"
    disk.hung.set()
    thread._thread.join(20.0)
    assert not thread._thread.is_alive()


@pytest.mark.process
def test_the_thread_outlives_what_nobody_foresaw(
    thread: JournalThread, journal: Journal, happened: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(journal, monkeypatch)
    disk.fails = MemoryError("no room")
    thread.event(happened(1))
    assert not thread.flush(10.0), "said to be stored, and is not"
    assert conditions(thread) == ["journal_failed"]
    (notice,) = thread.notices()
    assert (notice.value, notice.detail) == (1, "MemoryError: no room")
    thread.event(happened(2))  # and the tick is told nothing else than that it stands
    disk.fails = None
    assert thread.flush(10.0)
    assert conditions(thread) == []
    assert thread.next_event() is not None
    assert journal.last_seq == 2, "both, and none of them twice"


# --- whole -----------------------------------------------------------------------------------------------------------


def test_notices_are_the_same_tuple_while_nothing_changes(desk: InlineJournal, happened: Make) -> None:
    before = desk.notices()
    desk.event(happened(1))
    desk.flush()
    assert desk.notices() is before


def test_inline_work_is_done_once_a_second_of_the_ticks_clock(
    desk: InlineJournal, happened: Make, snapshot: Callable[..., Snapshot]
) -> None:
    desk.trace(snapshot(0.0))
    desk.event(happened(1))
    desk.trace(snapshot(0.9))
    assert desk.next_event() is None
    desk.trace(snapshot(1.0))
    assert published(desk) == [1]


def test_idle_bench_leaves_no_trace(desk: InlineJournal, journal: Journal, snapshot: Callable[..., Snapshot]) -> None:
    for number in range(100):
        desk.trace(snapshot(number / 10, 1.0, Phase.IDLE))
    desk.flush()
    assert journal._db.execute("SELECT count(*) FROM trace").fetchone()[0] == 0


def test_pressure_without_a_session_leaves_a_trace(
    desk: InlineJournal, journal: Journal, snapshot: Callable[..., Snapshot]
) -> None:
    desk.trace(snapshot(0.0, 40.0, Phase.FAULT))
    desk.flush()
    assert journal._db.execute("SELECT count(*) FROM trace").fetchone()[0] == 1


@pytest.mark.process
def test_backlog_larger_than_memory_comes_in_order(tmp_path: Path, origin: Origin, happened: Make) -> None:
    """A broker away for days: what waits is in the file, not in memory."""
    first = Journal(tmp_path / "journal.db", origin)
    first.store([(0.0, happened(number)) for number in range(3000)])
    first.close()
    thread = JournalThread(Journal(tmp_path / "journal.db", origin), origin.wall_s)
    seqs: list[int] = []
    until_s = time.monotonic() + 20.0
    while len(seqs) < 3001 and time.monotonic() < until_s:
        event = thread.next_event()
        if event is None:
            thread.flush(1.0)
            continue
        assert len(thread._unpublished) <= 256
        seqs.append(event[0])
        thread.acknowledged(event[0])
        if len(seqs) == 1500:
            thread.event(happened(3001))
    assert seqs == list(range(1, 3002))
    assert thread.close(10.0)
    again = Journal(tmp_path / "journal.db", origin)
    assert again.acknowledged() == 3001
    again.close()


@pytest.mark.process
def test_thread_stores_all_before_it_ends(tmp_path: Path, origin: Origin, happened: Make) -> None:
    thread = JournalThread(Journal(tmp_path / "journal.db", origin), origin.wall_s)
    for number in range(500):
        thread.event(happened(number))
    assert thread.close(10.0)
    again = Journal(tmp_path / "journal.db", origin)
    assert again.last_seq == 500
    again.close()


def test_memory_journal_writes_nothing(tmp_path: Path, origin: Origin, happened: Make) -> None:
    desk = InlineJournal(Journal(MEMORY, origin), origin.wall_s)
    desk.event(happened(1))
    assert desk.close()
    assert list(tmp_path.iterdir()) == []
