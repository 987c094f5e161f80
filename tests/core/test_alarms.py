"""Alarm conditions: raised, cleared, latched, acknowledged, paused; and the table they come from."""

from __future__ import annotations

from math import nan

import pytest

from controller.core import alarms
from controller.core.alarms import (
    CONDITIONS,
    AlarmState,
    acknowledge,
    initial,
    silence,
    standing,
    update,
)
from controller.core.model import Finding, Notice, Priority
from controller.core.safety import REACTIONS, Reaction


def found(rule: str, cuff: int = 0, value: float = 1.0, limit: float = 2.0) -> Finding:
    return Finding(rule, cuff, value, limit, "mmHg", f"{rule} says why", 5.0)


def names(state: AlarmState) -> list[str]:
    return [alarm.condition for alarm in standing(state)]


def after(
    state: AlarmState,
    *findings: Finding,
    notices: tuple[Notice, ...] = (),
    now_s: float = 5.0,
    held: bool = False,
) -> AlarmState:
    return update(state, findings, notices, now_s, held)[0]


# --- the table -----------------------------------------------------------------------------------------------------


def test_every_rule_is_in_the_table_and_a_trip_is_high_and_latches() -> None:
    for rule, reaction in REACTIONS.items():
        row = CONDITIONS[rule]
        assert (row.priority is Priority.HIGH and row.latching) is (reaction is Reaction.TRIP) or (
            rule == "boot_pressurised"
        )
        assert row.latching is (reaction is Reaction.TRIP)


def test_a_lost_broker_and_a_full_disk_are_not_the_patients_trouble() -> None:
    assert CONDITIONS["broker_lost"].priority is Priority.LOW
    assert CONDITIONS["disk_low"].priority is Priority.LOW
    assert CONDITIONS["unattended"].priority is Priority.MEDIUM


@pytest.mark.parametrize("rule", ["tube_blocked", "no_fall", "not_released", "boot_pressurised"])
def test_what_no_valve_can_empty_says_what_to_do(rule: str) -> None:
    assert "take the cuff off" in CONDITIONS[rule].text


# --- raised and cleared --------------------------------------------------------------------------------------------


def test_nothing_is_nothing_and_costs_no_new_state() -> None:
    state = initial()
    assert update(state, (), (), 1.0, False) == (state, ())
    assert update(state, (), (), 1.0, False)[0] is state
    assert standing(state) == ()


def test_a_finding_is_raised_once_and_clears_when_it_is_over() -> None:
    state, changes = update(initial(), (found("off_target", 1),), (), 5.0, False)
    assert [(one.alarm.condition, one.raised) for one in changes] == [("off_target", True)]
    alarm = standing(state)[0]
    assert alarm == alarms.Alarm(
        "off_target", Priority.MEDIUM, False, False, 0.0, 5.0, "off_target says why", 1.0, 2.0, "mmHg", 1
    )
    before = standing(state)
    state, changes = update(state, (found("off_target", 1, value=9.0),), (), 5.1, False)
    assert changes == ()
    assert standing(state) is before  # as it was when it was raised; nothing is built anew
    state, changes = update(state, (), (), 5.2, False)
    assert [(one.alarm.condition, one.raised) for one in changes] == [("off_target", False)]
    assert standing(state) == ()


def test_the_same_rule_on_two_cuffs_is_two_alarms() -> None:
    state = after(initial(), found("off_target", 0), found("off_target", 1))
    assert [alarm.cuff for alarm in standing(state)] == [0, 1]
    state = after(state, found("off_target", 1))
    assert [alarm.cuff for alarm in standing(state)] == [1]


def test_of_two_findings_of_one_condition_the_first_speaks() -> None:
    state = after(initial(), found("leak", value=7.0), found("leak", value=8.0))
    assert [alarm.value for alarm in standing(state)] == [7.0]


def test_a_number_that_is_not_known_is_shown_as_none() -> None:
    state = after(initial(), found("stale_sample", value=nan, limit=nan))
    assert (standing(state)[0].value, standing(state)[0].limit) == (None, None)


def test_highest_first_then_oldest() -> None:
    state = after(initial(), found("rest_stretched"), now_s=1.0)
    state = after(state, found("rest_stretched"), found("off_target"), now_s=2.0)
    state = after(state, found("rest_stretched"), found("off_target"), found("under_target"), found("leak"), now_s=3.0)
    assert names(state) == ["leak", "off_target", "under_target", "rest_stretched"]


def test_a_notice_stands_while_it_is_listed() -> None:
    disk = Notice("disk_low", 150.0, 200.0, "MB", "on /var")
    state, changes = update(initial(), (), (disk,), 1.0, False)
    assert len(changes) == 1
    alarm = standing(state)[0]
    assert (alarm.text, alarm.value, alarm.limit, alarm.unit, alarm.cuff) == (
        "little disk space is left: on /var",
        150.0,
        200.0,
        "MB",
        -1,
    )
    assert update(state, (), (Notice("disk_low", 150.0, 200.0, "MB", "on /var"),), 2.0, False) == (state, ())
    other, changes = update(state, (), (Notice("disk_low", 140.0, 200.0, "MB"),), 2.0, False)
    assert changes == ()
    alarm = standing(other)[0]
    assert (alarm.text, alarm.value, alarm.raised_at_s) == ("little disk space is left", 140.0, 1.0)  # its words go on
    assert standing(state)[0].value == 150.0
    assert names(after(state)) == []
    assert standing(after(initial(), notices=(Notice("broker_lost"),)))[0].text == CONDITIONS["broker_lost"].text


def test_a_finding_speaks_for_a_notice_of_the_same_condition() -> None:
    state = after(initial(), found("rest_stretched", -1), notices=(Notice("rest_stretched"),))
    assert [alarm.text for alarm in standing(state)] == ["rest_stretched says why"]


def test_an_unknown_condition_is_shown_all_the_same() -> None:
    state = after(initial(), found("of_a_later_version"), notices=(Notice("of_another"),))
    assert {alarm.condition: alarm.priority for alarm in standing(state)} == {
        "of_a_later_version": Priority.MEDIUM,
        "of_another": Priority.MEDIUM,
    }


def test_a_finding_without_words_gets_the_tables() -> None:
    state = after(initial(), Finding("leak", 0, 7.0, 7.0, "s", "", 1.0))
    assert standing(state)[0].text == "the cuff leaks"


# --- latched -------------------------------------------------------------------------------------------------------


def test_a_trip_stays_until_it_is_reset() -> None:
    state = after(initial(), found("leak"), held=True)
    state, changes = update(state, (), (), 6.0, True)
    assert names(state) == ["leak"]
    assert changes == ()
    assert standing(state)[0].latched
    state, changes = update(state, (), (), 7.0, False)
    assert names(state) == []
    assert [(one.alarm.condition, one.raised) for one in changes] == [("leak", False)]


def test_what_still_stands_at_the_reset_clears_when_it_is_over_and_may_trip_again() -> None:
    state = after(initial(), found("guard_lost", -1), found("leak"), held=True)
    state, changes = update(state, (found("guard_lost", -1),), (), 6.0, False)
    assert [(one.alarm.condition, one.raised) for one in changes] == [("leak", False)]
    assert [(alarm.condition, alarm.latched) for alarm in standing(state)] == [("guard_lost", False)]
    assert names(after(state)) == []
    state = silence(acknowledge(state, "", 7.0)[0], 7.0)
    state, changes = update(state, (found("guard_lost", -1),), (), 8.0, True)
    assert [(one.alarm.condition, one.raised) for one in changes] == [("guard_lost", False), ("guard_lost", True)]
    alarm = standing(state)[0]
    assert (alarm.latched, alarm.acknowledged, alarm.audio_paused_until_s, alarm.raised_at_s) == (True, False, 0.0, 8.0)


def test_what_is_found_and_does_not_trip_latches_nothing() -> None:
    """After a reset a sensor that is gone is an alarm; once it is mended nobody could reset that."""
    state = after(initial(), found("stale_sample"), notices=(Notice("boot_fault"),))
    assert [alarm.latched for alarm in standing(state)] == [False, False]
    assert names(after(state)) == []


def test_what_only_alarms_latches_not_even_beside_a_trip() -> None:
    state = after(initial(), found("off_target"), found("leak"), held=True)
    assert names(after(state, held=True)) == ["leak"]


# --- acknowledged and paused ---------------------------------------------------------------------------------------


def test_acknowledging_one_or_all_is_shown() -> None:
    state = after(initial(), found("leak"), found("off_target"))
    state, text = acknowledge(state, "leak", 6.0)
    assert text == "acknowledged: leak"
    assert [alarm.acknowledged for alarm in standing(state)] == [True, False]
    state, text = acknowledge(state, "", 6.0)
    assert text == "acknowledged: leak, off_target"
    assert [alarm.acknowledged for alarm in standing(state)] == [True, True]


def test_acknowledging_what_does_not_stand_is_refused() -> None:
    state = after(initial(), found("leak"))
    assert acknowledge(state, "off_target", 6.0) == (state, None)
    assert acknowledge(initial(), "", 6.0)[1] is None


def test_an_alarm_that_comes_back_is_not_acknowledged() -> None:
    state, _ = acknowledge(after(initial(), found("off_target")), "", 6.0)
    state = after(after(state), found("off_target"))
    assert not standing(state)[0].acknowledged


def test_the_audio_pause_is_30_s_and_is_shown() -> None:
    state = silence(after(initial(), found("leak"), now_s=5.0), 10.0)
    assert standing(state)[0].audio_paused_until_s == 40.0
    state = after(state, found("leak"), now_s=39.99)
    assert standing(state)[0].audio_paused_until_s == 40.0
    state = after(state, found("leak"), now_s=40.0)
    assert standing(state)[0].audio_paused_until_s == 0.0
    assert not standing(state)[0].acknowledged


def test_the_pause_ends_of_a_latched_alarm_without_findings_too() -> None:
    state = after(silence(after(initial(), found("leak"), held=True), 10.0), now_s=11.0, held=True)
    assert standing(state)[0].audio_paused_until_s == 40.0
    assert standing(after(state, now_s=40.0, held=True))[0].audio_paused_until_s == 0.0
    assert standing(after(state, now_s=nan, held=True))[0].audio_paused_until_s == 0.0


def test_a_new_alarm_breaks_the_pause() -> None:
    state = silence(after(initial(), found("off_target")), 10.0)
    state = after(state, found("off_target"), found("leak"), now_s=11.0)
    assert [(alarm.condition, alarm.audio_paused_until_s) for alarm in standing(state)] == [
        ("leak", 0.0),
        ("off_target", 0.0),
    ]
    assert state.paused_until_s == 0.0


def test_one_that_clears_does_not_break_the_pause() -> None:
    state = silence(after(initial(), found("off_target"), found("leak")), 10.0)
    state = after(state, found("leak"), now_s=11.0)
    assert [alarm.audio_paused_until_s for alarm in standing(state)] == [40.0]


def test_there_is_nothing_to_pause_where_nothing_sounds() -> None:
    state = silence(initial(), 10.0)
    assert state.paused_until_s == 0.0
    assert standing(after(state, found("leak"), now_s=11.0))[0].audio_paused_until_s == 0.0


def test_the_state_handed_in_is_not_changed() -> None:
    state = after(initial(), found("leak"))
    said = repr(state)
    update(state, (found("off_target"),), (Notice("disk_low"),), 6.0, False)
    acknowledge(state, "", 6.0)
    silence(state, 6.0)
    update(state, (), (), 6.0, False)
    assert repr(state) == said
