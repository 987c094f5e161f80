"""The panel's lines on gpiozero's mock: what is taken or broken first, then polarity, tone and what is left behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from firmware_bridge.panel import BUZZER_DUTY, PanelLines, PanelPins, mock_factory, pi_factory

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


# --- as gpiozero's own driver for a Pi has it, with lgpio's calls by hand -------------------------------------------


class Chip:
    """A GPIO chip behind lgpio's functions: which lines are outputs, their level, pull and PWM."""

    OUT, PULL_UP = 1 << 1, 1 << 5
    SET_PULL_NONE, SET_PULL_UP, SET_PULL_DOWN = 1 << 7, 1 << 5, 1 << 6
    BOTH_EDGES, RISING_EDGE, FALLING_EDGE = 3, 1, 2
    error = RuntimeError

    def __init__(self) -> None:
        self.mode: dict[int, int] = {}
        self.level: dict[int, int] = {}
        self.pwm: dict[int, tuple[float, int]] = {}
        self.opened = 0

    def gpiochip_open(self, _chip: int) -> int:
        self.opened += 1
        return 7

    def gpiochip_close(self, _handle: int) -> None:
        self.opened -= 1

    def gpio_claim_input(self, _handle: int, line: int, flags: int = 0) -> None:
        self.mode[line] = flags
        self.level[line] = int(flags == self.SET_PULL_UP)

    def gpio_claim_output(self, _handle: int, line: int) -> None:
        self.mode[line], self.level[line] = self.OUT, 0

    def gpio_free(self, _handle: int, line: int) -> None:
        self.mode.pop(line)

    def gpio_get_mode(self, _handle: int, line: int) -> int:
        return self.mode[line]

    def gpio_read(self, _handle: int, line: int) -> int:
        return self.level[line]

    def gpio_write(self, _handle: int, line: int, level: int) -> None:
        assert self.mode[line] == self.OUT
        self.level[line] = int(level)

    def tx_pwm(self, _handle: int, line: int, hz: float, percent: int) -> None:
        assert self.mode[line] == self.OUT
        assert hz == 0 or 0.1 <= hz <= 10_000.0, "what lgpio takes"
        if hz:
            self.pwm[line] = (hz, percent)
        else:
            self.pwm.pop(line, None)
            self.level[line] = 1  # a PWM that stops may leave its pin as it was


@pytest.fixture
def chip(monkeypatch: pytest.MonkeyPatch) -> Iterator[Chip]:
    from gpiozero.pins import local

    chip = Chip()
    monkeypatch.setitem(sys.modules, "lgpio", chip)  # type: ignore[arg-type]
    monkeypatch.delitem(sys.modules, "gpiozero.pins.lgpio", raising=False)
    monkeypatch.setattr(local.LocalPiFactory, "_get_revision", lambda _self: 0xC03111)  # a Pi 4
    monkeypatch.setattr(local.LocalPiFactory, "pins", {})
    yield chip
    sys.modules.pop("gpiozero.pins.lgpio", None)


def test_on_a_pi_the_same_lines_do_the_same(chip: Chip) -> None:
    factory = pi_factory()
    pins = PanelPins(LINES, factory)
    assert chip.mode[START] == chip.SET_PULL_UP
    assert not pins.pressed()
    chip.level[START] = 0
    assert pins.pressed()
    assert [chip.level[one] for one in OUTPUTS] == [0, 0, 0, 0]
    pins.light((True, True, False))
    assert [chip.level[one] for one in OUTPUTS] == [1, 1, 0, 0]
    for hz in (400.0, 1600.0):
        pins.tone(hz)
        assert chip.pwm == {BUZZER: (hz, 12)}
    pins.tone(0.0)
    assert (chip.pwm, chip.level[BUZZER]) == ({}, 0), "low after it, wherever the PWM had left it"
    pins.tone(660.0)
    pins.close()
    assert chip.pwm == {}
    assert [chip.mode[one] for one in (START, *OUTPUTS)] == [chip.SET_PULL_NONE] * 5
    factory.close()
    assert chip.opened == 0


@pytest.mark.process
def test_importing_this_imports_no_pin_library() -> None:
    code = "import sys, firmware_bridge.panel; print([m for m in ('gpiozero', 'lgpio') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
