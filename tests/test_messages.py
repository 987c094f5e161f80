"""What goes out: the schema against a golden file, and what must never go out."""

from __future__ import annotations

from math import inf, nan
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller import messages, messages_doc, payloads
from controller.core.model import (
    Alarm,
    CuffSnapshot,
    EventKind,
    Happened,
    Phase,
    Priority,
    Snapshot,
)
from controller.messages import TOPICS, Origin, encode

GOLDEN = Path(__file__).parent / "golden" / "messages.schema.json"
STALE = "the schema changed: if that is meant, run python -m controller.messages_doc and look at the difference"
ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)


def origin() -> Origin:
    return Origin("bench-1", "b00t", lambda: 1_700_000_000.0, lambda: False)


def cuff(a_mmhg: float = 150.04, b_mmhg: float = 149.0, number: float = 150.0) -> CuffSnapshot:
    return CuffSnapshot(a_mmhg, b_mmhg, number, number / 10, 187.0, number, 1200.0, 0.1, False, False, "leg", "left")


def snapshot(*cuffs: CuffSnapshot, alarms: tuple[Alarm, ...] = (), number: float = 1.0, **changed: Any) -> Snapshot:
    fields = {
        "at_s": 12.3456,
        "phase": Phase.WORKING,
        "protocol": "bfr-30-15-15-15",
        "code": "c1",
        "set_index": 1,
        "sets": 4,
        "repetition": 2,
        "repetitions": 30,
        "cue": "up",
        "set_left_s": number,
        "rest_left_s": number,
        "session_left_s": number,
        "waiting_for": "",
        "cuffs": cuffs or (cuff(),),
        "alarms": alarms,
        "outcome": "",
    }
    return Snapshot(**{**fields, **changed})


def alarm(condition: str = "leak", number: float = 7.0) -> Alarm:
    return Alarm(condition, Priority.MEDIUM, False, False, number, 3.0, "text", number, number, "s", -1)


def decoded(payload: messages.Payload) -> dict[str, Any]:
    """What a reader gets; fails when the schema's own types would refuse it."""
    data = encode(payload)
    msgspec.json.decode(data, type=type(payload))
    plain: dict[str, Any] = msgspec.json.decode(data)
    return plain


def test_schema_is_the_golden_one() -> None:
    assert messages_doc.golden_schema() == GOLDEN.read_text(encoding="utf-8"), STALE


def test_mqtt_md_is_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert messages_doc.main(["--check"]) == 0, capsys.readouterr().err


def test_every_number_is_bounded() -> None:
    """A float without both bounds lets NaN and infinity through."""

    def walk(of: Any, where: str) -> None:
        if isinstance(of, dict):
            if of.get("type") in ("number", "integer") and "data" not in where:
                assert {"minimum", "maximum"} <= of.keys(), where
            for key, inner in of.items():
                walk(inner, f"{where}.{key}")
        elif isinstance(of, list):
            for inner in of:
                walk(inner, where)

    walk(messages_doc.json_schema()["$defs"], "")


def test_asyncapi_names_every_topic_and_resolves() -> None:
    document = messages_doc.asyncapi()
    assert document["asyncapi"] == "3.1.0"
    assert set(document["channels"]) == {topic.name for topic in TOPICS}
    assert {operation["action"] for operation in document["operations"].values()} == {"send"}

    def resolve(of: Any) -> None:
        if isinstance(of, dict):
            if "$ref" in of:
                target: Any = document
                for part in of["$ref"].removeprefix("#/").split("/"):
                    target = target[part]
            for inner in of.values():
                resolve(inner)
        elif isinstance(of, list):
            for inner in of:
                resolve(inner)

    resolve(document)


def test_envelope_comes_first_on_every_topic() -> None:
    envelope = ["schema", "bench_id", "boot_id", "seq", "at", "at_s", "clock_synced"]
    for topic in TOPICS:
        assert [field.name for field in msgspec.structs.fields(topic.payload)][:7] == envelope


def test_seq_counts_per_topic() -> None:
    speaker = origin()
    first, second = payloads.state(speaker, snapshot()), payloads.state(speaker, snapshot())
    other = payloads.alarms(speaker, (), 0.0)
    assert (first.seq, second.seq, other.seq) == (1, 2, 1)


def test_will_has_no_number_and_says_what_its_time_is() -> None:
    speaker = origin()
    will = decoded(payloads.will(speaker, 5.0))
    assert (will["seq"], will["state"], will["at_is"]) == (None, "lost", "connection")
    assert payloads.status(speaker, "ready", 6.0).seq == 1, "the will takes no number"


def test_at_is_rfc3339_in_milliseconds() -> None:
    assert messages.rfc3339(1_700_000_000.1239) == "2023-11-14T22:13:20.123Z"


def test_untrusted_reading_is_null() -> None:
    state = decoded(payloads.state(origin(), snapshot(cuff(a_mmhg=nan, b_mmhg=80.0))))
    assert state["cuffs"][0]["a_mmhg"] is None
    assert state["cuffs"][0]["b_mmhg"] == 80.0
    assert state["cuffs"][0]["pressure_mmhg"] is None, "one sensor alone is not a trusted reading"


def test_pressures_are_rounded() -> None:
    one = decoded(payloads.state(origin(), snapshot()))["cuffs"][0]
    assert (one["cuff"], one["a_mmhg"], one["pressure_mmhg"]) == (1, 150.0, 150.0)


@given(number=ANY_FLOAT, pressure=ANY_FLOAT)
def test_no_number_breaks_a_message(number: float, pressure: float) -> None:
    """Whatever the core holds, what goes out is what the schema says."""
    seen = snapshot(cuff(pressure, number, number), number=number, alarms=(alarm(number=number),))
    speaker = origin()
    decoded(payloads.state(speaker, seen))
    decoded(payloads.pressure(speaker, [seen, seen]))
    decoded(payloads.alarms(speaker, seen.alarms, 0.0))
    happened = Happened(EventKind.TRIP, 1.0, Phase.FAULT, 0, {"value": number, "target_mmhg": pressure, "text": "x"})
    decoded(payloads.event(speaker, "j", 1, 0.0, happened))


@pytest.mark.parametrize("bad", [nan, inf, -inf, 1e30])
def test_unknown_number_in_an_event_is_null(bad: float) -> None:
    happened = Happened(EventKind.TRIP, 1.0, Phase.FAULT, 0, {"value": bad, "pressure_mmhg": bad})
    event = decoded(payloads.event(origin(), "j", 1, 0.0, happened))
    assert event["data"] == {"value": None, "pressure_mmhg": None}
    assert event["cuff"] == 1


def test_long_text_is_cut_to_the_schema() -> None:
    happened = Happened(EventKind.END, 1.0, Phase.STOPPING, None, {"why": "x" * 1000})
    assert len(decoded(payloads.event(origin(), "j", 1, 0.0, happened))["data"]["why"]) == 400


@pytest.mark.parametrize(
    "changed",
    [
        snapshot(phase=Phase.HOLDING),
        snapshot(set_index=2),
        snapshot(repetition=3),
        snapshot(cuff(number=140.0)),
        snapshot(cuff(a_mmhg=nan)),
        snapshot(cuff(b_mmhg=nan)),
        snapshot(alarms=(alarm(),)),
        snapshot(cuff(), cuff(number=140.0)),
        snapshot(cuff(), cuff(b_mmhg=nan)),
    ],
    ids=["phase", "set", "repetition", "target", "trust in A", "trust in B", "alarm", "target 2", "trust in B 2"],
)
def test_state_key_sees_what_the_contract_names(changed: Snapshot) -> None:
    same = snapshot(*([cuff()] * len(changed.cuffs)))
    assert payloads.state_key(changed) != payloads.state_key(same)


def test_state_key_sees_nothing_else() -> None:
    """Neither time nor pressure, nor a target that is not there (NaN is not equal to itself)."""
    one = snapshot(cuff(a_mmhg=100.0, number=float("nan")))
    other = snapshot(cuff(a_mmhg=101.0, number=-float("nan")), at_s=13.0, cue="down")
    assert payloads.state_key(one) == payloads.state_key(other)


@pytest.mark.parametrize(
    ("a_mmhg", "b_mmhg", "empty"),
    [(14.9, 14.9, True), (15.0, 0.0, False), (0.0, 15.0, False), (nan, 0.0, False), (0.0, nan, False)],
)
def test_unknown_is_not_empty(a_mmhg: float, b_mmhg: float, empty: bool) -> None:
    assert payloads.empty(snapshot(cuff(a_mmhg, b_mmhg))) is empty
