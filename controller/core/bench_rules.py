"""The rules of the whole bench: the stop, the tick, the guard, and whether anybody is there. `safety.py` calls them.

Each looks at what has been seen (`Sight`) and says what it finds or nothing. Imports the core only; seconds.
"""

from __future__ import annotations

from .limits import GUARD_SILENT_S, TICK_LATE_S, UNATTENDED_S
from .model import Finding
from .seeing import Sight


def judge(sight: Sight, link_fault: str, now_s: float) -> list[Finding]:
    """What every rule that is not of one cuff finds, the gravest first."""
    found = [
        stop_button(sight, now_s),
        tick_late(sight, now_s),
        guard_rebooted(sight, now_s),
        guard_tripped(sight, now_s),
        guard_lost(sight, link_fault, now_s),
    ]
    return [one for one in found if one is not None]


def stop_button(sight: Sight, now_s: float) -> Finding | None:
    """H-06: the bench's or the patient's stop is pressed, or its wire broken. At once, no debounce."""
    if not sight.stopped:
        return None
    return Finding("stop_button", -1, 1.0, 0.0, "", "the emergency stop is pressed, or its wire is broken", now_s)


def tick_late(sight: Sight, now_s: float) -> Finding | None:
    """H-05: more than 100 ms between two ticks [J]: what was seen is older than what is true. Nor may time go back."""
    if 0.0 <= sight.gap_s <= TICK_LATE_S:
        return None
    limit_ms = TICK_LATE_S * 1000
    text = f"{_apart(sight.gap_s * 1000, limit_ms)} ms between two ticks, the limit is {limit_ms:.0f} ms"
    return Finding("tick_late", -1, sight.gap_s, TICK_LATE_S, "s", text, now_s)


def _apart(figure: float, limit: float) -> str:
    """With a decimal, and as many more as it takes to be another than its limit."""
    texts = [f"{figure:.{decimals}f}" for decimals in range(1, 7)]
    return next((text for text in texts if float(text) != limit), texts[-1])


def guard_rebooted(sight: Sight, now_s: float) -> Finding | None:
    """H-05: a status from a guard of another boot than the handshake's: it knows nothing of the limits it was given."""
    if not sight.rebooted or sight.status is None:
        return None
    boot_id, expected = sight.status.boot_id, sight.status.expected_boot_id
    return Finding("guard_rebooted", -1, boot_id, expected, "", "the guard has started anew: check its supply", now_s)


def guard_tripped(sight: Sight, now_s: float) -> Finding | None:
    """H-05: the guard has tripped by its own rules and has vented; its reason is carried on."""
    status = sight.tripped
    if status is None:
        return None
    cuff = status.trip_cuff if 0 <= status.trip_cuff < len(sight.cuffs) else -1
    text = f"the guard has vented: {status.trip or 'it gave no reason'}"
    return Finding("guard_tripped", cuff, float(status.state), 0.0, "", text, now_s)


def guard_lost(sight: Sight, link_fault: str, now_s: float) -> Finding | None:
    """H-05: no status for 250 ms, the length of a lease [J], or the link is down."""
    if not link_fault and sight.silent_s < GUARD_SILENT_S:
        return None
    silent_ms = f"no word from the guard for {sight.silent_s * 1000:.0f} ms: check its cable and supply"
    text = link_fault or silent_ms
    return Finding("guard_lost", -1, sight.silent_s, GUARD_SILENT_S, "s", text, now_s)


def unattended(now_s: float) -> Finding:
    """H-06: nobody gave a sign within the time the session waits for one; the session counts it."""
    text = f"no sign of the supervisor for {UNATTENDED_S:.0f} s: the session ends"
    return Finding("unattended", -1, UNATTENDED_S, UNATTENDED_S, "s", text, now_s)
