"""The panel's lines on gpiozero's mock: what is taken or broken first, then polarity, tone and what is left behind."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from firmware_bridge.panel import BUZZER_DUTY, PanelLines, PanelPins, mock_factory

START, RED, GREEN, BLUE, BUZZER = 22, 23, 24, 10, 18
LINES = PanelLines(START, (RED, GREEN, BLUE), BUZZER)
OUTPUTS = (RED, GREEN, BLUE, BUZZER)


@pytest.fixture
def factory() -> Any:
    return mock_factory()


def states(factory: Any) -> list[float]:
    return [factory.pin(one).state for one in OUTPUTS]


def test_a_line_that_is_taken_gives_back_the_others(factory: Any) -> None:
    from gpiozero import GPIOPinInUse, OutputDevice

    taken = OutputDevice(BUZZER, pin_factory=factory)
    with pytest.raises(GPIOPinInUse):
        PanelPins(LINES, factory)
    taken.close()
    pins = PanelPins(LINES, factory)
    pins.close()


def test_a_line_that_breaks_raises_and_the_others_are_closed_all_the_same(
    factory: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins = PanelPins(LINES, factory)
    pins.light((True, True, False))
    pins.tone(660.0)
    red = factory.pin(RED)

    def gone(_pin: object, _value: object) -> None:
        raise OSError(19, "no such device")

    broken = type("Broken", (type(red),), {"_set_state": gone})
    monkeypatch.setattr(red, "__class__", broken)
    with pytest.raises(OSError, match="no such device"):
        pins.light((False, False, True))
    with pytest.raises(OSError, match="no such device"):
        pins.close()
    assert factory.pin(BUZZER).state == 0
    assert factory.pin(BUZZER).function == "input"
    pins.close()


def test_nothing_is_lit_and_nothing_sounds_when_it_is_made(factory: Any) -> None:
    pins = PanelPins(LINES, factory)
    assert states(factory) == [0, 0, 0, 0]
    assert factory.pin(BUZZER).frequency is None
    pins.close()


def test_the_button_is_pulled_up_and_pressed_is_low_and_a_broken_wire_is_let_go(factory: Any) -> None:
    pins = PanelPins(LINES, factory)
    contact = factory.pin(START)
    assert (contact.function, contact.pull, pins.pressed()) == ("input", "up", False)
    contact.drive_low()
    assert pins.pressed()
    contact.drive_high()
    assert not pins.pressed()
    assert contact.when_changed is None, "asked, never called back"
    pins.close()


@pytest.mark.parametrize("red", [False, True])
@pytest.mark.parametrize("green", [False, True])
@pytest.mark.parametrize("blue", [False, True])
def test_each_colour_has_its_line(factory: Any, red: bool, green: bool, blue: bool) -> None:
    pins = PanelPins(LINES, factory)
    pins.light((red, green, blue))
    assert states(factory) == [red, green, blue, 0]
    pins.close()


def test_a_tone_is_a_narrow_pulse_at_its_frequency_and_silence_is_low(factory: Any) -> None:
    pins = PanelPins(LINES, factory)
    buzzer = factory.pin(BUZZER)
    for hz in (400.0, 520.0, 660.0, 1600.0):
        pins.tone(hz)
        assert (buzzer.frequency, buzzer.state) == (hz, BUZZER_DUTY)
        pins.tone(0.0)
        assert (buzzer.frequency, buzzer.state) == (None, 0)
    pins.tone(400.0)
    pins.tone(660.0)
    assert (buzzer.frequency, buzzer.state) == (660.0, BUZZER_DUTY)
    pins.close()


def test_the_duty_survives_the_pis_whole_per_cents() -> None:
    assert int(BUZZER_DUTY * 100) / 100 == BUZZER_DUTY


def test_closing_leaves_everything_low_and_given_back(factory: Any) -> None:
    pins = PanelPins(LINES, factory)
    pins.light((True, True, True))
    pins.tone(660.0)
    pins.close()
    pins.close()
    assert states(factory) == [0, 0, 0, 0]
    assert [factory.pin(one).function for one in (START, *OUTPUTS)] == ["input"] * 5
    again = PanelPins(LINES, factory)
    again.close()


def test_what_is_not_fitted_does_nothing(factory: Any) -> None:
    pins = PanelPins(PanelLines(), factory)
    pins.light((True, True, True))
    pins.tone(660.0)
    assert not pins.pressed()
    pins.close()


@pytest.mark.process
def test_importing_this_imports_no_pin_library() -> None:
    code = "import sys, firmware_bridge.panel; print([m for m in ('gpiozero', 'lgpio') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
