"""What the tick writes to: a journal behind plain deques, so that no disk is ever in its way.

Imports messages, core and the journal. `JournalThread` (real time) has a thread of its own that empties the deques
twenty times a second; `InlineJournal` (virtual time, where nothing may wait for a thread) does the same work inline,
once a second of the ticks' clock. Both are the Outbox of `publish`: an event can be published once its commit is done.

Nothing that the tick calls raises or waits. While the disk refuses, events wait in memory up to 1,000; what comes after
is counted as lost, with an alarm. Trace rows are thinned instead: they may be.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, TypeVar

from ..core.model import PRESSURISED, Happened, Notice, Phase, Snapshot
from ..messages import Session
from ..payloads import empty
from .journal import DISK_LOW_BYTES, Journal, Stamped, StampedSnapshot

T = TypeVar("T")

EVENTS_WAITING_MAX: Final = 1_000
TRACE_WAITING_MAX: Final = 3_000  # 5 min of 10 Hz; the oldest go first
TRACE_STUCK: Final = 100  # rows that wait: the writer has not come back from the disk for 10 s
BATCH: Final = 200  # events in one transaction
WINDOW: Final = 256  # stored events held in memory for the publisher; the rest stay in the file
WORK_EVERY_S: Final = 0.05
SECOND_S: Final = 1.0  # trace rows, the cursor and a retry go with the next event, or after this long
DOUBT_S: Final = 0.2
DISK_EVERY: Final = 30  # seconds between looks at the free space; pruning goes with them


class _Desk:
    """The deques, the outbox window and the notices. The tick's side appends; `_work` is the other side's."""

    def __init__(self, journal: Journal, wall_s: Callable[[], float], speed: float = 1.0) -> None:
        """`speed` is the loop's against real time: the disk's time is real, the rows come with the loop's."""
        self._trace_stuck = round(TRACE_STUCK * max(1.0, speed))
        self._journal = journal
        self._wall_s = wall_s
        self._events: deque[Stamped] = deque()
        self._trace: deque[StampedSnapshot] = deque(maxlen=TRACE_WAITING_MAX)
        self._sessions: deque[Session] = deque(maxlen=16)
        self._hand: list[Stamped] = []
        self._rows: list[StampedSnapshot] = []
        self._summaries: list[Session] = []
        self._lost = 0
        self._failed = ""
        self._free_bytes: int | None = None
        self._seconds = 0
        self._notices: tuple[Notice, ...] = ()
        self._stuck = (Notice("journal_failed", TRACE_STUCK / 10.0, None, "s", "the disk does not answer"),)
        self._unpublished: deque[tuple[int, bytes]] = deque()
        self._acknowledged = self._kept = self._loaded = 0
        self._past_known = self._whole = not journal.broken

    # --- the tick's side: never raises, never waits ---------------------------------------------------------------

    def event(self, happened: Happened) -> None:
        """Record a past fact. It is never dropped while there is room for it on the disk or in memory."""
        if len(self._events) + len(self._hand) < EVENTS_WAITING_MAX:
            self._events.append((self._wall_s(), happened))
        else:
            self._lost += 1

    def trace(self, seen: Snapshot) -> None:
        """Record a row of the trace; to be called ten times a second."""
        self._trace.append((self._wall_s(), seen))

    def session(self, summary: Session) -> None:
        """Record the summary of a session."""
        self._sessions.append(summary)

    def notices(self) -> tuple[Notice, ...]:
        """What stands now. The same tuple until something changes."""
        notices = self._notices
        if len(self._trace) < self._trace_stuck or any(one.condition == "journal_failed" for one in notices):
            return notices
        return notices + self._stuck

    def past_known(self) -> None:
        """Whatever the file does not tell of the time before this start matters no longer."""
        self._past_known = True

    # --- the publisher's side: memory only -----------------------------------------------------------------------

    def next_event(self) -> tuple[int, bytes] | None:
        """The oldest stored event that was not acknowledged: (seq, payload)."""
        try:
            return self._unpublished[0]
        except IndexError:
            return None

    def acknowledged(self, seq: int) -> None:
        """The broker has it. The cursor is written with the next transaction."""
        unpublished = self._unpublished
        while unpublished and unpublished[0][0] <= seq:
            unpublished.popleft()
        self._acknowledged = max(self._acknowledged, seq)

    # --- the writer's side ---------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._acknowledged = self._kept = self._loaded = self._journal.acknowledged()
        self._refill()
        self._look_at_disk()
        self._tell()

    def _work(self, a_second: bool) -> None:
        """Store what waits. `a_second`: one has gone by since the last call that said so."""
        if a_second:
            self._seconds += 1
        if ((self._events or self._hand) and not self._failed) or (a_second and self._anything()):
            self._store()
        if a_second and self._seconds % DISK_EVERY == 0:
            self._look_at_disk()
            self._guarded(self._prune)
        if len(self._unpublished) < WINDOW // 2 and self._loaded < self._journal.last_seq:
            self._guarded(self._refill)
        self._tell()

    def _anything(self) -> bool:
        waiting = self._events or self._hand or self._trace or self._rows or self._sessions or self._summaries
        return bool(waiting) or self._acknowledged > self._kept

    def _store(self) -> None:
        while True:
            self._take()
            try:
                self._write(self._hand, self._rows, self._summaries)
            except _OF_CONTENT as error:
                self._failed = f"{type(error).__name__}: {error}"
                self._salvage()
            except (sqlite3.Error, OSError) as error:
                self._failed = str(error)
                if not self._without_rows(error):
                    return
            else:
                self._failed = ""
            self._hand, self._rows, self._summaries = [], [], []
            if not self._events:
                return

    def _take(self) -> None:
        """Into the hand, where it stays until it is stored."""
        _pour(self._events, self._hand, BATCH)
        _pour(self._trace, self._rows, TRACE_WAITING_MAX)
        _pour(self._sessions, self._summaries, BATCH)

    def _write(self, events: list[Stamped], rows: list[StampedSnapshot], summaries: list[Session]) -> None:
        cursor = self._acknowledged
        moved = cursor if cursor > self._kept else None
        stored = self._journal.store(events, [row for row in rows if _worth(row[1])], summaries, moved)
        self._kept = cursor
        self._hand_over(stored)

    def _without_rows(self, error: Exception) -> bool:
        """Where the file is damaged it may be in the trace alone: an event is worth more than its rows."""
        code = getattr(error, "sqlite_errorcode", 0)
        if not self._rows or code & 0xFF != sqlite3.SQLITE_CORRUPT:
            return False
        with suppress(sqlite3.Error, OSError):
            self._write(self._hand, [], self._summaries)
            return True
        return False

    def _salvage(self) -> None:
        """Something in hand cannot be stored at all: it must not hold up the rest. One by one; what fails is lost."""
        for event in self._hand:
            try:
                self._write([event], [], [])
            except Exception as error:
                self._failed = f"{type(error).__name__}: {error}"
                self._lost += 1

    def _hand_over(self, stored: list[tuple[int, bytes]]) -> None:
        """Straight to the publisher while its window has room and nothing older is still in the file."""
        for seq, payload in stored:
            if seq == self._loaded + 1 and len(self._unpublished) < WINDOW:
                self._unpublished.append((seq, payload))
                self._loaded = seq

    def _refill(self) -> None:
        for seq, payload in self._journal.events_after(self._loaded, WINDOW - len(self._unpublished)):
            self._unpublished.append((seq, payload))
            self._loaded = seq

    def _prune(self) -> None:
        while self._journal.prune(self._wall_s()) and not self._events:
            pass

    def _look_at_disk(self) -> None:
        try:
            self._free_bytes = self._journal.free_bytes()
        except OSError:
            self._free_bytes = None  # a disk that cannot be asked shows in the next transaction

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (sqlite3.Error, OSError) as error:
            self._failed = str(error)

    def _mark(self) -> None:
        """Say beside the file whether it holds all that happened, for the next boot. A file can be taken away from a
        disk that takes nothing more."""
        whole = self._past_known and not self._failed and not self._lost
        if whole and not self._whole:
            self._guarded(self._journal.trust)
            whole = not self._failed
        if not whole:  # every time: one that could not be taken away is tried again
            self._journal.doubt()
        self._whole = whole

    def _tell(self) -> None:
        self._mark()
        notices = []
        if self._failed:
            notices.append(
                Notice(
                    "journal_failed", len(self._events) + len(self._hand), EVENTS_WAITING_MAX, "events", self._failed
                )
            )
        if self._lost:
            notices.append(Notice("journal_events_lost", self._lost, 0, "events"))
        if self._free_bytes is not None and self._free_bytes < DISK_LOW_BYTES:
            notices.append(Notice("disk_low", self._free_bytes // 1_000_000, DISK_LOW_BYTES // 1_000_000, "MB"))
        if tuple(notices) != self._notices:
            self._notices = tuple(notices)


_OF_CONTENT: Final = (  # not the disk's fault, and no better at a second try
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    OverflowError,
)
_AT_REST: Final = frozenset(Phase) - PRESSURISED - {Phase.RESTING, Phase.MOVING, Phase.PAUSED}


def _worth(seen: Snapshot) -> bool:
    """A bench that stands idle and empty needs no trace."""
    return seen.phase not in _AT_REST or not empty(seen)


def _pour(waiting: deque[T], hand: list[T], most: int) -> None:
    """One by one, because the tick appends meanwhile."""
    while waiting and len(hand) < most:
        hand.append(waiting.popleft())


class InlineJournal(_Desk):
    """For virtual time: the work is done by the call that starts a new second of the ticks' clock."""

    def __init__(self, journal: Journal, wall_s: Callable[[], float]) -> None:
        super().__init__(journal, wall_s)
        self._due_s = float("-inf")
        self._begin()

    def trace(self, seen: Snapshot) -> None:
        super().trace(seen)
        if seen.at_s >= self._due_s:
            self._due_s = seen.at_s + SECOND_S
            self._work(True)

    def next_event(self) -> tuple[int, bytes] | None:
        """The same; what does not fit in the window is read from the file when its turn comes."""
        if not self._unpublished and self._loaded < self._journal.last_seq:
            self._guarded(self._refill)
        return super().next_event()

    def flush(self, timeout_s: float = 0.0) -> bool:  # noqa: ARG002 -- the face of both
        """Store all that waits, now. Whether it was stored."""
        self._work(True)
        return not self._events and not self._hand

    def close(self, timeout_s: float = 0.0) -> bool:
        stored = self.flush(timeout_s)
        self._journal.close()
        return stored


class JournalThread(_Desk):
    """For real time: a daemon thread does the work, so that a disk that hangs holds up nobody, not even the end."""

    def __init__(self, journal: Journal, wall_s: Callable[[], float], speed: float = 1.0) -> None:
        super().__init__(journal, wall_s, speed)
        self._wake = threading.Event()
        self._done = threading.Event()
        self._stored = threading.Event()  # all of it, at the end
        self._asked = self._answered = 0
        self._closing = False
        self._begin()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        turns = 0
        while not self._closing:
            self._wake.wait(WORK_EVERY_S)
            self._wake.clear()
            asked = self._asked
            turns += 1
            try:
                self._work(turns % round(SECOND_S / WORK_EVERY_S) == 0 or asked > self._answered)
            except Exception as error:  # this thread must outlive whatever it meets
                self._failed = f"{type(error).__name__}: {error}"
                self._tell()
            self._answered = asked
            self._done.set()
        self._work(True)
        if not self._events and not self._hand:
            self._stored.set()
        self._journal.close()  # may take its time: the file is put in order

    def flush(self, timeout_s: float = 1.0) -> bool:
        """Wait until all that was recorded so far is on the disk. Not for the tick."""
        self._done.clear()
        self._asked += 1
        asked = self._asked
        self._wake.set()
        while self._done.wait(timeout_s):
            if self._answered >= asked:
                return not self._events and not self._hand
            self._done.clear()
        return False

    def close(self, timeout_s: float = 1.0) -> bool:
        """Store what waits and end; a thread that hangs in the disk is left behind. Whether all was stored."""
        self._closing = True
        self._wake.set()
        self._thread.join(timeout_s)
        stored = self._stored.is_set()
        if not stored:  # the next boot must know, and this end must not wait for it
            doubting = threading.Thread(target=self._journal.doubt, name="journal", daemon=True)
            doubting.start()
            doubting.join(DOUBT_S)
        return stored
