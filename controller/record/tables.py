"""The journal's tables, by version. A migration is added at the end, never changed.

`events` and `sessions` are append-only: triggers refuse every UPDATE and DELETE. `trace` is the only table that is
pruned; `limb_clocks` holds the newest value per limb and `outbox` one row, the last event that the broker acknowledged.
"""

from __future__ import annotations

from typing import Final

_REFUSE: Final = """
CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;
CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;
"""

_VERSION_1: Final = (
    """
CREATE TABLE identity (one INTEGER PRIMARY KEY CHECK (one = 1), journal_id TEXT NOT NULL) STRICT;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,        -- 1, 2, 3 ... without a gap, per journal_id
    kind TEXT NOT NULL,
    phase TEXT NOT NULL,            -- in which it happened; of kind 'phase': the one that was entered
    payload BLOB NOT NULL,          -- the exact bytes that are published
    hash BLOB NOT NULL              -- sha256(hash of the event before, payload); 32 zero bytes before the first
) STRICT;
CREATE TABLE sessions (id INTEGER PRIMARY KEY, code TEXT NOT NULL, payload BLOB NOT NULL) STRICT;
CREATE TABLE outbox (one INTEGER PRIMARY KEY CHECK (one = 1), acknowledged INTEGER NOT NULL) STRICT;
CREATE TABLE limb_clocks (
    code TEXT NOT NULL, limb TEXT NOT NULL, side TEXT NOT NULL,
    restricted_s REAL NOT NULL,
    wall_s REAL NOT NULL,           -- when it was so, Unix time
    PRIMARY KEY (code, limb, side)
) STRICT, WITHOUT ROWID;
CREATE TABLE trace (                -- 10 Hz and cuff; pressures in 0.1 mmHg, NULL where not trusted
    id INTEGER PRIMARY KEY,
    wall_ms INTEGER NOT NULL, at_ms INTEGER NOT NULL, boot_id TEXT NOT NULL,
    cuff INTEGER NOT NULL, phase TEXT NOT NULL, set_index INTEGER NOT NULL, repetition INTEGER NOT NULL,
    a_dmmhg INTEGER, b_dmmhg INTEGER, target_dmmhg INTEGER,
    pump_permille INTEGER NOT NULL, vent_open INTEGER NOT NULL, dump_open INTEGER NOT NULL
) STRICT;
"""
    + _REFUSE.format(table="identity")
    + _REFUSE.format(table="events")
    + _REFUSE.format(table="sessions")
)

MIGRATIONS: Final = (_VERSION_1,)
