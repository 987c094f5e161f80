"""What the bench shows to whoever watches: one JSON line per snapshot. Imports core and msgspec only.

A line has the field names and units of `core.model.Snapshot`, and `"type": "snapshot"`. What is not known is null,
never an old number. The line of a session that ended has `"type": "session"`; what a self-test found
in one tick has `"type": "selftest"` and a list `told` of its events, each with `kind`, `cuff` (from 1) and its data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from ..core.model import Happened, Snapshot

_ENCODER: Final = msgspec.json.Encoder()  # writes NaN and infinity as null


def snapshot_json(snapshot: Snapshot) -> bytes:
    """One snapshot as a line."""
    return b'{"type":"snapshot",' + _ENCODER.encode(snapshot)[1:] + b"\n"


def session_json(summary: Mapping[str, object]) -> bytes:
    """The summary of a session that ended as a line."""
    return _ENCODER.encode({"type": "session", **summary}) + b"\n"


def selftest_json(told: Sequence[Happened]) -> bytes:
    """Rows of a self-test, its end, or both, as a line."""
    events = [{"kind": one.kind, "cuff": None if one.cuff is None else one.cuff + 1, **one.data} for one in told]
    return _ENCODER.encode({"type": "selftest", "told": events}) + b"\n"
