"""The journal: an append-only SQLite file of what happened, and the outbox of what is still to be published.

Imports messages and core. Everything here is synchronous and may wait for the disk: `writer.py` keeps it out of the
tick. An event gets its number and its bytes inside the transaction that stores them, and each is hashed over the one
before. No clock in here: wall stamps come from the `Origin` that the composition root gives.

WAL with `synchronous=FULL`: one fsync for a commit instead of three, and a commit that returned is on the disk. A
process killed at any moment leaves a file that the next open puts right.

What a full disk did not take cannot be written anywhere, so it is said by something that is taken away: beside the file
lies `NAME.whole` as long as it holds all that happened. Without it the next boot knows that there is something it does
not know.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec

from ..core.model import COUNTS, EventKind, Happened, Phase, Snapshot, value
from ..messages import Event, Origin, Session, encode
from ..payloads import event as event_payload
from .tables import MIGRATIONS

MEMORY: Final = ":memory:"
TRACE_KEPT_S: Final = 90 * 86_400.0
DISK_LOW_BYTES: Final = 200_000_000
CHAIN_START: Final = bytes(32)
CHECKED_AT_OPEN: Final = 1_000  # events whose chain is verified when the file is opened; `verify` does them all
_PRUNED_AT_ONCE: Final = 5_000  # rows, so that pruning never holds up an event for long
_SESSIONS_RECALLED: Final = 1_000  # the newest: far more than a bench sees in the week that counts
_BUSY_S: Final = 0.2

Stamped = tuple[float, Happened]  # wall time at which it was taken, Unix seconds
StampedSnapshot = tuple[float, Snapshot]


class JournalVersionError(Exception):
    """The file is a sound journal, but not one that this version may write. A sentence for a person."""


@value
class UnresetFault:
    """The last trip that no person reset, as the journal holds it."""

    rule: str
    text: str
    at: str  # RFC 3339


@value
class LimbSeconds:
    """The restricted time of a limb as it was journalled last."""

    code: str
    limb: str
    side: str
    restricted_s: float
    wall_s: float  # Unix time


@value
class Began:
    """A session that counts towards its protocol's weekly limit, with when it began."""

    code: str
    protocol: str
    at: str  # RFC 3339


@value
class Recalled:
    """What a boot has to know of the ones before."""

    fault: UnresetFault | None
    limbs: tuple[LimbSeconds, ...]
    began: tuple[Began, ...]  # newest first
    last_session: bytes | None  # the payload, as it was published
    broken: str  # "" or a sentence: the file could not be read, or does not hold all that happened


class Journal:
    """One journal file. Not for two threads at once; every method but `close` may raise sqlite3.Error or OSError.

    Args:
        path: the file, made when missing; ":memory:" writes nothing.
        new_id: what a new file's `journal_id` is made of.
    Raises:
        JournalVersionError: written by a newer version.
        sqlite3.Error, OSError: the folder cannot be written.
    """

    def __init__(self, path: Path | str, origin: Origin, new_id: Callable[[], str] = lambda: uuid4().hex) -> None:
        self.path = Path(path) if str(path) != MEMORY else None
        self._origin = origin
        self.broken = ""
        self._whole = None if self.path is None else self.path.with_name(f"{self.path.name}.whole")
        self._db = self._open(new_id)
        row = self._db.execute("SELECT journal_id FROM identity").fetchone()
        self.journal_id: str = row[0]
        self.last_seq, self._hash = self._tail()

    # --- opening -------------------------------------------------------------------------------------------------

    def _open(self, new_id: Callable[[], str]) -> sqlite3.Connection:
        if self.path is None or self._whole is None:
            return _ready(_connect(MEMORY), new_id)
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = self.path.exists()
        first = not there and not self._whole.exists() and not _aside(self.path, 1).exists()
        if not first and not (there and self.path.stat().st_size):
            self.doubt()  # first: whatever ends this process now, the next one must know
            self.broken = f"the journal {self.path.name} is gone: a new one begun"
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # nobody else's to read
        try:
            db = _sound(_connect(self.path), new_id)
        except sqlite3.DatabaseError as error:
            if not _is_broken(error):
                raise
            self.doubt()  # first, as above
            aside = _put_aside(self.path)
            self.broken = (
                f"the journal {self.path.name} cannot be read ({error}): kept as {aside.name}, a new one begun"
            )
            return _sound(_connect(self.path), new_id)
        if first:
            self.trust()
        elif not self._whole.exists() and not self.broken:
            self.broken = f"the journal {self.path.name} does not hold all that happened before this start"
        return db

    # --- whether it holds all that happened ----------------------------------------------------------------------

    def trust(self) -> None:
        """It does, as far as anybody will ever know. Raises OSError. Empty, for a disk that has little room."""
        if self._whole is not None:
            self._whole.touch(mode=0o600)

    def doubt(self) -> None:
        """It does not, or may not from now on. A full disk does this too; never raises."""
        if self._whole is not None:
            with suppress(OSError):
                self._whole.unlink()
                _settle(self._whole.parent)

    # --- opening, and what is in it ------------------------------------------------------------------------------

    def _tail(self) -> tuple[int, bytes]:
        row = self._db.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
        return (row[0], row[1]) if row is not None else (0, CHAIN_START)

    def recall(self) -> Recalled:
        """What the boot before left behind."""
        limbs = tuple(
            LimbSeconds(*row)
            for row in self._db.execute(
                "SELECT code, limb, side, restricted_s, wall_s FROM limb_clocks WHERE restricted_s > 0"
            )
        )
        row = self._db.execute("SELECT payload FROM sessions ORDER BY id DESC LIMIT 1").fetchone()
        return Recalled(self._unreset(), limbs, self._began(), None if row is None else row[0], self.broken)

    def _began(self) -> tuple[Began, ...]:
        """Sessions that count: a cuff came to its target in them, or a set began."""
        rows = self._db.execute(
            "SELECT kind, CASE WHEN kind = ? THEN payload END FROM events WHERE kind IN (?, ?, ?) ORDER BY seq DESC",
            (EventKind.STARTED, EventKind.STARTED, *COUNTS),
        )
        told: list[Began] = []
        counts = False
        for kind, payload in rows:
            if kind != EventKind.STARTED:
                counts = True
            elif counts:
                one = _decoder.decode(payload)
                told.append(Began(str(one.data.get("code", "")), str(one.data.get("protocol", "")), one.at))
                counts = False
                if len(told) >= _SESSIONS_RECALLED:
                    break
        return tuple(told)

    def _unreset(self) -> UnresetFault | None:
        """A trip, or FAULT entered, with no way out of FAULT after it."""
        faulted = self._db.execute(
            "SELECT max(seq) FROM events WHERE kind = ? OR (kind = ? AND phase = ?)",
            (EventKind.TRIP, EventKind.PHASE, Phase.FAULT),
        ).fetchone()[0]
        if faulted is None:
            return self._broken_off()
        left = self._db.execute(
            "SELECT 1 FROM events WHERE seq > ? AND kind = ? AND phase <> ?", (faulted, EventKind.PHASE, Phase.FAULT)
        ).fetchone()
        if left is not None:
            return self._broken_off()
        row = self._db.execute(
            "SELECT payload FROM events WHERE seq <= ? AND kind = ? ORDER BY seq DESC LIMIT 1",
            (faulted, EventKind.TRIP),
        ).fetchone()
        if row is None:
            return UnresetFault("", "a fault that the journal does not name", "")
        told = _decoder.decode(row[0])
        return UnresetFault(str(told.data.get("rule", "")), str(told.data.get("text", "")), told.at)

    def _broken_off(self) -> UnresetFault | None:
        """A program that ended in the middle of a session or a self-test, by a kill or a power cut: nobody has said
        how that limb is."""
        row = self._db.execute(
            "SELECT phase, payload FROM events WHERE kind = ? ORDER BY seq DESC LIMIT 1", (EventKind.PHASE,)
        ).fetchone()
        if row is None or row[0] in (Phase.IDLE, Phase.READY, Phase.FAULT):
            return None
        return UnresetFault("", f"the program ended while {row[0]}: look at the limb", _decoder.decode(row[1]).at)

    # --- writing -------------------------------------------------------------------------------------------------

    def store(
        self,
        events: Sequence[Stamped] = (),
        trace: Iterable[StampedSnapshot] = (),
        sessions: Iterable[Session] = (),
        acknowledged: int | None = None,
    ) -> list[tuple[int, bytes]]:
        """One transaction. Returns (seq, payload) of the events, once they are on the disk; raises and stores nothing
        otherwise."""
        db, seq, chain = self._db, self.last_seq, self._hash
        stored: list[tuple[int, bytes]] = []
        try:
            db.execute("BEGIN IMMEDIATE")
            for wall_s, happened in events:
                seq += 1
                payload = encode(event_payload(self._origin, self.journal_id, seq, wall_s, happened))
                chain = hashlib.sha256(chain + payload).digest()
                db.execute(_INSERT_EVENT, (seq, happened.kind, happened.phase, payload, chain))
                stored.append((seq, payload))
                if happened.kind is EventKind.LIMB_CLOCK:
                    told = happened.data
                    db.execute(_UPSERT_LIMB, (told["code"], told["limb"], told["side"], told["restricted_s"], wall_s))
            for session in sessions:
                db.execute("INSERT INTO sessions (code, payload) VALUES (?, ?)", (session.code, encode(session)))
            db.executemany(_INSERT_TRACE, self._rows(trace))
            if acknowledged is not None:
                db.execute("UPDATE outbox SET acknowledged = ? WHERE acknowledged < ?", (acknowledged, acknowledged))
            db.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # a full disk has rolled back by itself
                db.execute("ROLLBACK")
            raise
        self.last_seq, self._hash = seq, chain
        return stored

    def _rows(self, trace: Iterable[StampedSnapshot]) -> Iterator[tuple[object, ...]]:
        boot_id = self._origin.boot_id
        for wall_s, seen in trace:
            wall_ms, at_ms, phase = round(wall_s * 1e3), round(seen.at_s * 1e3), _PLAIN[seen.phase]
            for index, one in enumerate(seen.cuffs):
                yield (
                    wall_ms,
                    at_ms,
                    boot_id,
                    index + 1,
                    phase,
                    seen.set_index,
                    seen.repetition,
                    _dmmhg(one.a_mmhg),
                    _dmmhg(one.b_mmhg),
                    _dmmhg(one.target_mmhg),
                    round(one.pump_duty * 1e3) if 0.0 <= one.pump_duty <= 1.0 else -1,
                    1 if one.vent_open else 0,
                    1 if one.dump_open else 0,
                )

    def prune(self, now_wall_s: float) -> int:
        """Drop some of the trace older than 90 days. Rows dropped; call again while it is not 0. Nothing is dropped
        on the word of a clock that is not set; rows of one that was ahead once stay, and keep no others."""
        if not self._origin.clock_synced():
            return 0
        oldest = "SELECT id FROM trace WHERE wall_ms <= ? ORDER BY id LIMIT ?"
        return self._db.execute(
            f"DELETE FROM trace WHERE id IN ({oldest}) AND wall_ms < ?",
            (round(now_wall_s * 1e3), _PRUNED_AT_ONCE, round((now_wall_s - TRACE_KEPT_S) * 1e3)),
        ).rowcount

    # --- the outbox ----------------------------------------------------------------------------------------------

    def acknowledged(self) -> int:
        """The last event that the broker acknowledged; 0 before the first."""
        return int(self._db.execute("SELECT acknowledged FROM outbox").fetchone()[0])

    def events_after(self, seq: int, limit: int) -> list[tuple[int, bytes]]:
        return self._db.execute(
            "SELECT seq, payload FROM events WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit)
        ).fetchall()

    # --- the disk ------------------------------------------------------------------------------------------------

    def free_bytes(self) -> int | None:
        """What is free where the file is; None for one in memory."""
        return None if self.path is None else shutil.disk_usage(self.path.parent).free

    def verify(self) -> str:
        """Walk the whole hash chain: "" when whole, else a sentence that names the first event that is wrong."""
        return _verify(self._db.execute("SELECT seq, payload, hash FROM events ORDER BY seq"), 0, CHAIN_START)

    def close(self) -> None:
        self._db.close()


_PLAIN: Final = {phase: phase.value for phase in Phase}  # sqlite3 looks for an adapter of an enum's, at each row
_INSERT_EVENT: Final = "INSERT INTO events (seq, kind, phase, payload, hash) VALUES (?, ?, ?, ?, ?)"
_UPSERT_LIMB: Final = (
    "INSERT OR REPLACE INTO limb_clocks (code, limb, side, restricted_s, wall_s) VALUES (?, ?, ?, ?, ?)"
)
_INSERT_TRACE: Final = (
    "INSERT INTO trace (wall_ms, at_ms, boot_id, cuff, phase, set_index, repetition, a_dmmhg, b_dmmhg, target_dmmhg,"
    " pump_permille, vent_open, dump_open) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


_decoder: Final = msgspec.json.Decoder(Event)


def _dmmhg(pressure_mmhg: float) -> int | None:
    return round(pressure_mmhg * 10.0) if -1000.0 <= pressure_mmhg <= 1000.0 else None


def _connect(path: Path | str) -> sqlite3.Connection:
    """Autocommit; the writer's thread may be another than the opener's, but never two at once."""
    return sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)


def _ready(db: sqlite3.Connection, new_id: Callable[[], str]) -> sqlite3.Connection:
    """Bring the file to this version's tables, each migration in a transaction of its own."""
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise JournalVersionError(
            f"the journal is of version {version}, this program knows up to {len(MIGRATIONS)}: use a newer one"
        )
    for number in range(version, len(MIGRATIONS)):
        db.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;")
    db.execute("INSERT INTO identity SELECT 1, ? WHERE NOT EXISTS (SELECT 1 FROM identity)", (new_id(),))
    db.execute("INSERT INTO outbox SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM outbox)")
    return db


def _sound(db: sqlite3.Connection, new_id: Callable[[], str]) -> sqlite3.Connection:
    """The same, after a look at whether the file can be trusted. Raises sqlite3.DatabaseError when it cannot."""
    try:
        _ready(db, new_id)
        for table in _READ_AT_BOOT:
            found = db.execute(f"PRAGMA quick_check('{table}')").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(f"malformed: {found}")
        rows = db.execute(
            "SELECT seq, payload, hash FROM (SELECT * FROM events ORDER BY seq DESC LIMIT ?) ORDER BY seq",
            (CHECKED_AT_OPEN + 1,),
        ).fetchall()
        if rows:
            first = rows.pop(0) if len(rows) > CHECKED_AT_OPEN else (0, b"", CHAIN_START)
            wrong = _verify(rows, first[0], first[2])
            if wrong:
                raise sqlite3.DatabaseError(f"malformed: {wrong}")
    except BaseException:
        db.close()
        raise
    return db


_READ_AT_BOOT: Final = (
    "events",
    "limb_clocks",
    "sessions",
    "identity",
    "outbox",
)  # the trace is long, and only written


def _verify(rows: Iterable[tuple[int, bytes, bytes]], seq: int, chain: bytes) -> str:
    for found, payload, stored in rows:
        seq += 1
        if found != seq:
            return f"event {seq} is missing (found {found})"
        chain = hashlib.sha256(chain + payload).digest()
        if chain != stored:
            return f"event {seq} was changed: its hash is not the one stored"
    return ""


def _is_broken(error: sqlite3.DatabaseError) -> bool:
    """Whether the file itself is bad, rather than its folder, its disk or another process holding it."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return "malformed" in str(error) or "no such table" in str(error)
    return code & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)


def _settle(folder: Path) -> None:
    """A file that was taken out of a folder is out of it after a power cut too."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _aside(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}.broken-{number}{path.suffix}")


def _put_aside(path: Path) -> Path:
    """Rename a broken journal with what belongs to it. The first free name of journal.broken-N.db."""
    number = 1
    while (aside := _aside(path, number)).exists():
        number += 1
    for tail in ("-wal", "-shm", ""):
        part = path.with_name(path.name + tail)
        if part.exists():
            part.rename(aside.with_name(aside.name + tail))
    return aside
