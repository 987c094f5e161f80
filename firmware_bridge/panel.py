"""The panel's lines through gpiozero: start button, RGB lamp, buzzer. Polarity exists here and nowhere else.

The button is a contact to ground, pulled up: low is pressed, and a broken wire is a button let go. It is asked, never
called back: no edge, no thread. The lamp's three lines are active-high (common cathode, or a driver for each) and only
on or off. The buzzer is a sounder without an oscillator of its own, driven by PWM at the tone's frequency.

`gpiozero` and `lgpio` are imported where the lines or a factory are made. Unlike the guard's, these lines may float
after `close`: a pull-down keeps the buzzer's driver off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

# A narrow pulse has strong harmonics: the second to the fifth lie within 6 dB of the first, where a square wave has
# every other one and two within 15 dB. IEC 60601-1-8 asks for four; what a sounder makes of them is its own.
BUZZER_DUTY: Final = 0.12
IDLE_HZ: Final = 500


@dataclass(slots=True, frozen=True)
class PanelLines:
    """GPIO numbers; None where it is not fitted. The lamp: red, green, blue."""

    start: int | None = None
    lamp: tuple[int, int, int] | None = None
    buzzer: int | None = None


def pi_factory() -> Any:
    """The Pi's own lines. No other pin library is tried. Raises ImportError, or what lgpio says."""
    from gpiozero.pins.lgpio import LGPIOFactory

    return LGPIOFactory()


def mock_factory() -> Any:
    """The same pins on a laptop: they remember what they were driven to, and a test presses the button."""
    from gpiozero.pins.mock import MockFactory, MockPWMPin

    return MockFactory(pin_class=MockPWMPin)


class PanelPins:
    """The lines, dark and silent. Calls raise what gpiozero and its factory raise."""

    def __init__(self, lines: PanelLines, factory: Any) -> None:
        from gpiozero import RGBLED, InputDevice, PWMOutputDevice

        self.factory = factory
        self._made: list[Any] = []
        self._start = self._lamp = self._buzzer = None
        try:
            if lines.start is not None:
                self._start = self._keep(InputDevice(lines.start, pull_up=True, pin_factory=factory))
            if lines.lamp is not None:
                self._lamp = self._keep(RGBLED(*lines.lamp, pwm=False, pin_factory=factory))
            if lines.buzzer is not None:
                self._buzzer = self._keep(PWMOutputDevice(lines.buzzer, frequency=IDLE_HZ, pin_factory=factory))
                self.tone(0.0)
        except BaseException:
            self.close()
            raise

    def _keep(self, device: Any) -> Any:
        self._made.append(device)
        return device

    def pressed(self) -> bool:
        """Whether the contact is closed, now."""
        return self._start is not None and bool(self._start.value)

    def light(self, colour: tuple[bool, bool, bool]) -> None:
        if self._lamp is not None:
            self._lamp.value = tuple(map(int, colour))

    def tone(self, hz: float) -> None:
        """0 is silence: no PWM is left running, and the line is low after it, wherever the PWM had left it."""
        buzzer = self._buzzer
        if buzzer is None:
            return
        if hz > 0.0:
            buzzer.frequency = hz
            buzzer.value = BUZZER_DUTY
        else:
            buzzer.value = 0.0
            buzzer.frequency = None
            buzzer.value = 0.0

    def close(self) -> None:
        """Dark, silent, low, given back. Safe to call twice; one that fails keeps none of the others from it, and the
        first failure is raised last."""
        failed: Exception | None = None
        made, self._made = self._made, []
        for act in (lambda: self.tone(0.0), lambda: self.light((False, False, False)), *[one.close for one in made]):
            try:
                act()
            except Exception as error:
                failed = failed or error
        self._start = self._lamp = self._buzzer = None
        if failed is not None:
            raise failed
