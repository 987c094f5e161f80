"""Protocols: every kind of bad file is refused in one line, and what loads becomes the timeline it says."""

from __future__ import annotations

import copy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core.limits import EXERCISE_CAP_S, REST_MAX_S, REST_MIN_S
from controller.core.model import Limb, Mode, StepKind, Tempo
from controller.prescription import library
from controller.prescription.library import find_protocols, named
from controller.prescription.protocol import Protocol, check, load_protocol
from controller.prescription.timeline import exercise_s, planned_by_exercise, to_timeline, worst_on_limb
from controller.tomlfile import BadInput, convert

ROOT = Path(__file__).resolve().parents[2]
PRESETS = ("bfr-30-15-15-15", "knee-oa", "occlusion", "passive-5x5")
SOURCES = dict.fromkeys(("percent_lop", "sets", "tempo", "rest_s"), "a test's own")


def plain(**changes: Any) -> dict[str, Any]:
    """30-15-15-15 as a raw table, with changes on top."""
    table: dict[str, Any] = {
        "name": "plain",
        "title": "for tests",
        "mode": "intermittent",
        "percent_lop": 60,
        "percent_lop_min": 40,
        "percent_lop_max": 80,
        "exercises": [exercise()],
        "sources": dict(SOURCES),
    }
    for key, value in changes.items():
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
    return copy.deepcopy(table)


def exercise(**changes: Any) -> dict[str, Any]:
    table: dict[str, Any] = {
        "name": "squat",
        "repetitions": [30, 15, 15, 15],
        "tempo": {"concentric_s": 2, "eccentric_s": 2},
        "rest_s": 30,
    }
    table.update(changes)
    return {key: value for key, value in table.items() if value is not None}


def passive(**changes: Any) -> dict[str, Any]:
    bouts = {"on_s": 300, "off_s": 180, "bouts": 5} | changes.pop("passive", {})
    sources = {"percent_lop": "t", "passive": "t"}
    return plain(mode="passive", exercises=None, passive=bouts, sources=sources) | changes


def loaded(table: dict[str, Any]) -> Protocol:
    protocol = convert(table, Protocol, "p.toml")
    check(protocol, "p.toml")
    return protocol


def refusal(table: dict[str, Any]) -> str:
    with pytest.raises(BadInput) as caught:
        loaded(table)
    assert str(caught.value).isprintable()
    return str(caught.value)


CONTINUOUS_60 = plain(mode="continuous", exercises=[exercise(rest_s=60)])
TWICE = [exercise(name="a"), exercise(name="b")]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (plain(rests=3), "p.toml: rests = 3: must be left out: unknown key"),
        (plain(name=None), "p.toml: name: must be given"),
        (plain(name="../x"), 'p.toml: name = "../x": must be 1 to 40 lower-case letters'),
        (plain(name="x\n"), 'p.toml: name = "x'),
        (plain(mode="sometimes"), 'p.toml: mode = "sometimes": must be one of "intermittent"'),
        (plain(limbs=["head"]), 'p.toml: limbs[1] = "head": must be one of "leg", "arm"'),
        (plain(limbs=["leg", "leg"]), 'p.toml: limbs = ["leg", "leg"]: must be a list without repeats'),
        (plain(exercises=None), "p.toml: exercises: must be given"),
        (plain(exercises=[exercise(rest_s=20)]), "p.toml: exercises[1].rest_s = 20: must be a number from 30 to 60 s"),
        (plain(exercises=[exercise(rest_s=61)]), "p.toml: exercises[1].rest_s = 61: must be a number from 30 to 60 s"),
        (plain(exercises=[exercise(rest_s=float("nan"))]), "p.toml: exercises[1].rest_s = nan: must be a number"),
        (plain(exercises=[exercise(rest_s="30 s")]), 'p.toml: exercises[1].rest_s = "30 s": must be a number'),
        (plain(exercises=[exercise(rest_s=None)]), "p.toml: exercises[1].rest_s: must be given"),
        (plain(exercises=[exercise(rest_ms=3)]), "p.toml: exercises[1].rest_ms = 3: must be left out: unknown key"),
        (plain(exercises=[exercise(tempo=None)]), "p.toml: exercises[1].tempo: must be given"),
        (plain(exercises=[exercise(repetitions=None)]), "p.toml: exercises[1].repetitions: must be given"),
        (
            plain(exercises=[exercise(durations_s=[30])]),
            "p.toml: exercises[1].repetitions = [30, 15, 15, 15]: must be one",
        ),
        (plain(exercises=[exercise(repetitions=[0])]), "p.toml: exercises[1].repetitions[1] = 0: must be a whole"),
        (
            plain(exercises=[exercise(repetitions=[30, 30, 16])]),
            "p.toml: exercises[1].repetitions = [30, 30, 16]: must be at most 75 repetitions an exercise together, "
            "and they are 76",
        ),
        (
            plain(repetition_cap=60, sources=SOURCES | {"repetition_cap": "t"}),
            "p.toml: exercises[1].repetitions = [30, 15, 15, 15]: must be at most 60",
        ),
        (
            plain(repetition_cap=60, exercises=[exercise(repetitions=[60])]),
            "p.toml: sources.repetition_cap: must be given",
        ),
        (plain(repetition_cap=76), "p.toml: repetition_cap = 76: must be a whole number from 1 to 75"),
        (
            plain(exercises=[exercise(tempo={"concentric_s": 0, "eccentric_s": 0})]),
            'p.toml: exercises[1].tempo = "0 s": must be at least 1 s',
        ),
        (
            plain(exercises=[exercise(tempo={"concentric_s": float("inf"), "eccentric_s": 2})]),
            "p.toml: exercises[1].tempo.concentric_s = inf: must be a number from 0 to 15 s",
        ),
        (
            CONTINUOUS_60,
            "p.toml: exercises[1].restricted_s = 510: must be at most 480 s of restricted time an exercise "
            "(1 x 30 s inflating + 300 s of sets + 180 s held = 510 s)",
        ),
        (CONTINUOUS_60 | {"exercise_cap_s": 510}, "p.toml: sources.exercise_cap_s: must be given where"),
        (plain(exercise_cap_s=601), "p.toml: exercise_cap_s = 601: must be a number from 30 to 600 s"),
        (plain(exercises=TWICE), "p.toml: reperfusion_s: must be given between two exercises"),
        (plain(exercises=TWICE, reperfusion_s=59), "p.toml: reperfusion_s = 59: must be a number from 60 to 1800 s"),
        (plain(exercises=TWICE, reperfusion_s=60), "p.toml: sources.reperfusion_s: must be given"),
        (
            plain(
                exercises=[*TWICE, exercise(name="c")],
                reperfusion_s=179.9,
                sources=SOURCES | {"reperfusion_s": "t"},
            ),
            "p.toml: restricted_s = 1260: must be at most 1200 s on a limb (leg) without 180 s of reperfusion "
            "(420 + 420 + 420 = 1260 s)",
        ),
        (plain(percent_lop=None), "p.toml: percent_lop: must be given"),
        (plain(percent_lop_max=None), "p.toml: percent_lop_max: must be given"),
        (plain(percent_lop=81), "p.toml: percent_lop = 81: must be a number from 40 to 80 % of LOP"),
        (plain(percent_lop_max=90), "p.toml: percent_lop_max = 90: must be a number from 40 to 80 % of LOP"),
        (plain(percent_lop_min=39), "p.toml: percent_lop_min = 39: must be a number from 40 to 80 % of LOP"),
        (plain(percent_lop=float("nan")), "p.toml: percent_lop = nan: must be a number"),
        (plain(percent_lop_min=70), "p.toml: percent_lop = 60: must be within its window, 70 to 80 % of LOP"),
        (
            plain(percent_lop_min=80, percent_lop_max=70),
            "p.toml: percent_lop_min = 80: must be at most percent_lop_max",
        ),
        (plain(sources=SOURCES | {"tempo": " "}), 'p.toml: sources.tempo = " ": must be given'),
        (plain(sources={}), "p.toml: sources.percent_lop: must be given for a number that is used here: its source"),
        (plain(sources=SOURCES | {"temp": "x"}), 'p.toml: sources.temp = "x": must be left out: unknown key'),
        (plain(passive={"on_s": 300, "off_s": 180, "bouts": 5}), "p.toml: passive = {…}: must be left out"),
        (plain(mode="passive", exercises=None), "p.toml: passive: must be given"),
        (passive(exercises=[exercise()]), 'p.toml: exercises = ["squat"]: must be left out in mode "passive"'),
        (passive(passive={"on_s": 301}), "p.toml: passive.on_s = 301: must be a number from 5 to 300 s"),
        (passive(passive={"off_s": 179}), "p.toml: passive.off_s = 179: must be a number from 180 to 300 s"),
        (passive(passive={"off_s": 301}), "p.toml: passive.off_s = 301: must be a number from 180 to 300 s"),
        (passive(passive={"bouts": 6}), "p.toml: passive.bouts = 6: must be a whole number from 1 to 5"),
        (passive(percent_lop_max=91), "p.toml: percent_lop_max = 91: must be a number from 40 to 90 % of LOP"),
        (passive(exercise_cap_s=329), "p.toml: passive.restricted_s = 330: must be at most 329 s"),
        (
            plain(mode="resting", exercises=[exercise(repetitions=[30])]),
            "p.toml: exercises[1].repetitions = [30]: must be",
        ),
        (plain(mode="none"), 'p.toml: percent_lop = 60: must be left out in mode "none"'),
        (
            plain(frequency={"weekly": 4, "weekly_seasoned": 3}),
            "p.toml: frequency.weekly_seasoned = 3: must be at least frequency.weekly (4)",
        ),
        (plain(frequency={"weekly": 3}), "p.toml: sources.frequency: must be given"),
        (plain(programme={"weeks": 12, "sessions": 24}), "p.toml: sources.programme: must be given"),
    ],
)
def test_a_bad_protocol_is_refused_in_one_line(table: dict[str, Any], expected: str) -> None:
    assert refusal(table).startswith(expected)


def test_name_and_file_agree(tmp_path: Path) -> None:
    text = (ROOT / "config/protocols/occlusion.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=r'mine\.toml: name = "occlusion": must be "mine", as the file is called'):
        load_protocol(tmp_path / "mine.toml")


# --- presets ---------------------------------------------------------------------------------------------------


def test_exactly_the_presets_are_there() -> None:
    assert {path.stem for path in (ROOT / "config/protocols").glob("*.toml")} == set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_load(name: str) -> None:
    protocol = load_protocol(ROOT / "config/protocols" / f"{name}.toml")
    assert protocol.name == name
    assert protocol.percent_lop is not None
    assert max(plan.total_s for plan in planned_by_exercise(protocol)) <= EXERCISE_CAP_S


def test_30_15_15_15_is_the_preset_of_the_sources() -> None:
    protocol = named("bfr-30-15-15-15")
    assert (protocol.percent_lop, protocol.percent_lop_min, protocol.percent_lop_max) == (60, 40, 80)
    timeline = to_timeline(protocol)
    assert exercise_s(timeline) == 390.0  # 75 x 4 s and three rests of 30 s
    assert timeline.mode is Mode.INTERMITTENT
    assert timeline.exercise_cap_s == 480.0
    assert [step.kind for step in timeline.steps] == [StepKind.SET, StepKind.REST] * 3 + [StepKind.SET]
    assert [step.repetitions for step in timeline.steps if step.kind is StepKind.SET] == [30, 15, 15, 15]
    assert [step.set_index for step in timeline.steps] == [1, 0, 2, 0, 3, 0, 4]
    assert timeline.steps[0].tempo == Tempo(2.0, 0.0, 2.0)
    assert worst_on_limb(protocol)[0] == 300.0 + 4 * 30.0


@pytest.mark.parametrize(("period_s", "rest_s", "total_s"), [(4, 30, 390), (4, 60, 480), (2, 30, 240)])
def test_planned_length_is_that_of_the_sources(period_s: int, rest_s: int, total_s: int) -> None:
    tempo = {"concentric_s": period_s / 2, "eccentric_s": period_s / 2}
    assert exercise_s(to_timeline(loaded(plain(exercises=[exercise(rest_s=rest_s, tempo=tempo)])))) == total_s


def test_occlusion_carries_its_cap_rests_and_weekly_limit() -> None:
    protocol = named("occlusion")
    assert protocol.repetition_cap == 75
    assert protocol.exercises[0].repetitions == (15, 15, 15, 15)
    assert REST_MIN_S <= (protocol.exercises[0].rest_s or 0) <= REST_MAX_S
    assert protocol.frequency is not None
    assert (protocol.frequency.weekly, protocol.frequency.weekly_seasoned) == (3, 4)


def test_knee_oa_is_twelve_weeks_on_the_leg_and_says_what_is_not_known() -> None:
    protocol = named("knee-oa")
    assert protocol.limbs == (Limb.LEG,)
    assert protocol.programme is not None
    assert (protocol.programme.weeks, protocol.programme.sessions) == (12, 24)
    for text in (protocol.sources.percent_lop, protocol.sources.sets, protocol.sources.rest_s):
        assert "Jacobs 2025's own" in (text or "")
    kinds = [step.kind for step in to_timeline(protocol).steps]
    assert kinds.count(StepKind.REPERFUSION) == 1
    assert kinds[7] is StepKind.REPERFUSION


def test_passive_bouts_are_exercises_of_their_own() -> None:
    steps = to_timeline(named("passive-5x5")).steps
    assert [(step.kind, step.inflated, step.duration_s) for step in steps] == [
        (StepKind.HOLD, True, 300.0),
        (StepKind.OFF, False, 180.0),
    ] * 4 + [(StepKind.HOLD, True, 300.0)]
    assert [step.exercise for step in steps if step.kind is StepKind.HOLD] == [0, 1, 2, 3, 4]


# --- modes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "in_set", "in_rest", "planned_s"),
    [
        ("intermittent", True, False, 300 + 4 * 30),
        ("continuous", True, True, 390 + 30),
        ("resting", False, True, 90 + 3 * 30),
        ("none", False, False, 0),
    ],
)
def test_modes_say_when_the_cuff_is_inflated(mode: str, in_set: bool, in_rest: bool, planned_s: float) -> None:
    nothing = {"percent_lop": None, "percent_lop_min": None, "percent_lop_max": None} if mode == "none" else {}
    protocol = loaded(
        plain(
            mode=mode,
            exercises=TWICE,
            reperfusion_s=180,
            sources=SOURCES | {"reperfusion_s": "t"},
            **nothing,
        )
    )
    steps = to_timeline(protocol).steps
    assert {step.inflated for step in steps if step.kind is StepKind.SET} == {in_set}
    assert {step.inflated for step in steps if step.kind is StepKind.REST} == {in_rest}
    assert {step.inflated for step in steps if step.kind is StepKind.REPERFUSION} == {False}
    assert steps[-1].kind is StepKind.SET
    assert [plan.total_s for plan in planned_by_exercise(protocol)] == [planned_s, planned_s]


def test_without_a_cuff_rests_are_free_and_nothing_is_capped() -> None:
    table = plain(
        mode="none",
        percent_lop=None,
        percent_lop_min=None,
        percent_lop_max=None,
        exercises=[exercise(repetitions=[100, 100], rest_s=300)],
    )
    assert to_timeline(loaded(table)).steps[1].duration_s == 300.0


def test_sets_by_seconds() -> None:
    table = plain(exercises=[exercise(repetitions=None, tempo=None, durations_s=[60, 45])])
    steps = to_timeline(loaded(table)).steps
    assert [(step.duration_s, step.repetitions, step.tempo) for step in steps] == [
        (60.0, 0, None),
        (30.0, 0, None),
        (45.0, 0, None),
    ]


def test_reperfusion_of_180_s_clears_the_limb_and_the_arm_has_the_lower_cap() -> None:
    three = [*TWICE, exercise(name="c")]
    sources = SOURCES | {"reperfusion_s": "t"}
    assert worst_on_limb(loaded(plain(exercises=three, reperfusion_s=180, sources=sources)))[0] == 420.0
    short = plain(exercises=TWICE, reperfusion_s=60, sources=sources)
    assert worst_on_limb(loaded(short))[0] == 840.0
    longer = [exercise(name="a", rest_s=50), exercise(name="b")]
    both = plain(mode="continuous", exercises=longer, reperfusion_s=60, sources=sources)
    assert "must be at most 900 s on a limb (arm)" in refusal(plain(**both | {"exercises": _three_short()}))
    assert loaded(plain(**both | {"exercises": _three_short(), "limbs": ["leg"]})).limbs == (Limb.LEG,)


def _three_short() -> list[dict[str, Any]]:
    """Three exercises of 330 s restricted time each: 990 s."""
    return [exercise(name=name, repetitions=[20, 20, 15], rest_s=40) for name in "abc"]


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=6),
    st.floats(0.5, 6.0),
    st.floats(30.0, 60.0),
    st.sampled_from(["intermittent", "continuous"]),
)
def test_no_plan_that_loads_passes_its_cap(repetitions: list[int], half_s: float, rest_s: float, mode: str) -> None:
    tempo = {"concentric_s": half_s, "eccentric_s": half_s}
    table = plain(mode=mode, exercises=[exercise(repetitions=repetitions, tempo=tempo, rest_s=rest_s)])
    worked_s, rests = sum(repetitions) * 2 * half_s, len(repetitions) - 1
    by_hand_s = worked_s + (30 * (rests + 1) if mode == "intermittent" else 30 + rests * rest_s)
    fits = by_hand_s <= EXERCISE_CAP_S - 1e-6 and sum(repetitions) <= 75
    try:
        protocol = loaded(table)
    except BadInput:
        assert not fits
    else:
        assert by_hand_s <= EXERCISE_CAP_S + 1e-6
        assert sum(repetitions) <= 75
        assert planned_by_exercise(protocol)[0].total_s == pytest.approx(by_hand_s)


@settings(max_examples=200)
@given(st.sampled_from(PRESETS), st.integers(0, 2500), st.integers(0, 12), st.text(max_size=6))
def test_a_damaged_file_loads_checked_or_is_one_line(name: str, at: int, cut: int, put: str) -> None:
    text = (ROOT / "config/protocols" / f"{name}.toml").read_text(encoding="utf-8")
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.toml"
        path.write_bytes((text[:at] + put + text[at + cut :]).encode("utf-8", "surrogatepass"))
        line = f"{path}: "
        try:
            protocol = load_protocol(path)
        except BadInput as error:
            line = str(error)
        else:
            assert max(plan.total_s for plan in planned_by_exercise(protocol)) <= protocol.exercise_cap_s
        assert line.startswith(f"{path}: ")
        assert line.isprintable()


# --- where they are found --------------------------------------------------------------------------------------


def test_a_clinics_own_protocol_hides_the_shipped_one(tmp_path: Path) -> None:
    shipped = find_protocols()["occlusion"]
    assert find_protocols().keys() >= set(PRESETS)
    mine = tmp_path / "occlusion.toml"
    mine.write_text(shipped.read_text(encoding="utf-8").replace("rest_s = 45", "rest_s = 60"), encoding="utf-8")
    assert find_protocols(tmp_path)["occlusion"] == mine
    assert named("occlusion", tmp_path).exercises[0].rest_s == 60.0
    assert named(str(mine)).exercises[0].rest_s == 60.0
    assert named("occlusion").exercises[0].rest_s == 45.0


def test_the_system_folder_comes_before_the_packaged_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("SYSTEM", "PACKAGED", "CHECKOUT")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "p.toml").touch()
        monkeypatch.setattr(library, name, tmp_path / name)
    for name in names:
        assert find_protocols()["p"].parent.name == name
        (tmp_path / name / "p.toml").unlink()
    assert find_protocols() == {}


def test_unknown_names_and_folders_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r'^PROTOCOL = "occlusio": must be one of those found: .*occlusion'):
        named("occlusio")
    with pytest.raises(BadInput, match=r"^--protocols = .*none: must be a folder that exists"):
        find_protocols(tmp_path / "none")
