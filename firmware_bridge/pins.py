"""The guard's lines through gpiozero: polarity exists here and nowhere else.

Active-high only: low is pump off, valve de-energised, valve open. Every output is one of GPIO 9-27, which a reset pulls
down. Duties are thousandths and flags those of `firmware.wire`, as `guard.outputs` has them. `gpiozero` and `lgpio` are
imported where a factory or the lines are made, so that this imports on a laptop.

What gpiozero does that a pump must not feel, and what is done about it:

- An output floats for an instant while it is made, and for good once it is closed, because gpiozero claims it as an
  input without a pull; and it closes what is garbage collected. So outputs are made once, kept as long as the process
  lives and never closed: `let_go` drives them low and leaves them so, and the process must then end without gpiozero's
  own shutdown. Before and after that the pull-downs on the gates hold them, which the wiring therefore must have; the
  supply of coils and pump has no heartbeat then either.
- Its PWM knows whole per cents and truncates (0.29 becomes 28 %), so the duty is rounded here and handed over from the
  safe side of the truncation. The PWM is a thread of lgpio's: one that stops may leave its pin high, which the pump's
  enable and the monostable answer for.
- A change of duty takes effect at the end of the PWM's cycle (10 to 40 ms). The pump's enable is what stops it at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from .firmware.wire import DUMP_CLOSED, PUMP_ENABLE, VENT_CLOSED

LOWEST_OUTPUT: Final = 9
HIGHEST_OUTPUT: Final = 27
SERIAL_PORT: Final = (14, 15)  # high before Linux runs, and text of the console would keep a monostable supplied
PWM_LOW_HZ: Final = 25
PWM_HIGH_HZ: Final = 100
TRUNCATION: Final = 0.0001  # on top of a whole per cent, so that int(value * 100) is that per cent


@dataclass(slots=True, frozen=True)
class CuffLines:
    """The outputs of one cuff, by GPIO number."""

    pump: int
    pump_enable: int
    vent: int
    dump: int


@dataclass(slots=True, frozen=True)
class GuardLines:
    """Every line of a guard process. Raises ValueError: a line that a reset pulls up, or one named twice."""

    cuffs: tuple[CuffLines, ...]
    estop: int
    heartbeat: int | None
    status_led: int | None = None
    pwm_hz: int = 50

    def __post_init__(self) -> None:
        for line in self.outputs:
            if not LOWEST_OUTPUT <= line <= HIGHEST_OUTPUT:
                must = f"{LOWEST_OUTPUT} to {HIGHEST_OUTPUT}, which a reset pulls down"
                raise ValueError(f"GPIO {line}: an output must be one of {must}")
            if line in SERIAL_PORT:
                must = "another than 14 and 15, the serial port, high at boot"
                raise ValueError(f"GPIO {line}: an output must be {must}")
        every = (*self.outputs, self.estop)
        if len(set(every)) != len(every):
            raise ValueError(f"GPIO {', '.join(map(str, every))}: no line may be named twice")
        if not PWM_LOW_HZ <= self.pwm_hz <= PWM_HIGH_HZ:
            raise ValueError(f"{self.pwm_hz} Hz: the pump's PWM must be {PWM_LOW_HZ} to {PWM_HIGH_HZ} Hz")

    @property
    def outputs(self) -> tuple[int, ...]:
        """What must be low when nobody drives it."""
        of_cuffs = [line for cuff in self.cuffs for line in (cuff.pump_enable, cuff.pump, cuff.vent, cuff.dump)]
        return (*of_cuffs, *[line for line in (self.status_led, self.heartbeat) if line is not None])


def outputs_outlive(sys_folder: Path = Path("/sys")) -> Path | None:
    """The kernel's parameter that says that outputs keep their level when the process that drives them dies: a pump
    would run on and a closed valve stay closed. None where they do not, as where the kernel has no such parameter."""
    for module in ("pinctrl_bcm2835", "pinctrl_rp1"):
        parameter = sys_folder / "module" / module / "parameters" / "persist_gpio_outputs"
        try:
            said = parameter.read_text().strip()
        except FileNotFoundError:
            continue
        except OSError:
            return parameter
        if said not in ("N", "n", "0"):
            return parameter
    return None


def lgpio_factory() -> Any:
    """The Pi's own lines. A failure is fatal: no other pin library is tried. Raises ImportError, or what lgpio says."""
    from gpiozero.pins.lgpio import LGPIOFactory

    return LGPIOFactory()


class GpioPins:
    """The lines, claimed low. `chip` is the number of the GPIO chip they are on, None where there is none."""

    def __init__(self, lines: GuardLines, factory: Any) -> None:
        """`factory` makes gpiozero's pins. Raises what gpiozero raises where a line is taken."""
        from gpiozero import InputDevice, OutputDevice

        self.chip: int | None = getattr(factory, "chip", None)
        self._cuffs = [_Cuff(cuff, lines.pwm_hz, factory) for cuff in lines.cuffs]
        self._led = None if lines.status_led is None else OutputDevice(lines.status_led, pin_factory=factory)
        # The contact is closed to ground, so that pressed and broken both read high. No bounce time, no callback: it
        # is asked in every pass.
        self._estop = InputDevice(lines.estop, pull_up=True, pin_factory=factory)
        self._heartbeat = None if lines.heartbeat is None else OutputDevice(lines.heartbeat, pin_factory=factory)
        self._beat = False
        self._lit = False

    def drive(self, channel: int, duty: int, flags: int) -> None:
        """Set the outputs of one cuff. A channel without a cuff is ignored: it has no lines."""
        if channel < len(self._cuffs):
            self._cuffs[channel].drive(duty, flags)

    def estop_ok(self) -> bool:
        """Whether the stop loop is whole, now."""
        return bool(self._estop.value)

    def beat(self) -> None:
        """One edge for the monostable. Only a whole pass of the guard's loop may call this."""
        if self._heartbeat is not None:
            self._beat = not self._beat
            self._heartbeat.value = self._beat

    def show(self, lit: bool) -> None:
        """The status LED."""
        if self._led is not None and lit is not self._lit:
            self._led.value = lit
            self._lit = lit

    def low(self) -> None:
        """Every output low, whatever it was; one that fails does not keep the others from it, and is raised last."""
        offs: list[Callable[[], None]] = [off for cuff in self._cuffs for off in cuff.offs()]
        offs += [one.off for one in (self._led, self._heartbeat) if one is not None]
        failed: Exception | None = None
        for off in offs:
            try:
                off()
            except Exception as error:
                failed = failed or error
        self._lit = self._beat = False
        if failed is not None:
            raise failed

    def let_go(self) -> None:
        """Low, and no PWM any more. Nothing is closed: a closed line floats. The process must end after this, by
        `os._exit`, because gpiozero closes every line at an ordinary exit."""
        try:
            self.low()
        finally:
            for cuff in self._cuffs:
                cuff.stop_pwm()


class _Cuff:
    """The lines of one cuff. Writes what changes: what takes pressure away first, what may add to it last."""

    def __init__(self, lines: CuffLines, pwm_hz: int, factory: Any) -> None:
        from gpiozero import OutputDevice, PWMOutputDevice

        self._enable = OutputDevice(lines.pump_enable, pin_factory=factory)
        self._pump = PWMOutputDevice(lines.pump, frequency=pwm_hz, pin_factory=factory)
        self._vent = OutputDevice(lines.vent, pin_factory=factory)
        self._dump = OutputDevice(lines.dump, pin_factory=factory)
        self._driven = (0, 0)

    def drive(self, duty: int, flags: int) -> None:
        percent = min(100, (duty + 5) // 10)
        if (percent, flags) == self._driven:
            return
        was_percent, was_flags = self._driven
        changed = flags ^ was_flags
        if changed & PUMP_ENABLE and not flags & PUMP_ENABLE:
            self._enable.off()
        if changed & VENT_CLOSED:
            self._vent.value = bool(flags & VENT_CLOSED)
        if changed & DUMP_CLOSED:
            self._dump.value = bool(flags & DUMP_CLOSED)
        if percent != was_percent:
            self._pump.value = 1.0 if percent == 100 else percent / 100 + TRUNCATION if percent else 0.0
        if changed & flags & PUMP_ENABLE:
            self._enable.on()
        self._driven = (percent, flags)

    def offs(self) -> list[Callable[[], None]]:
        self._driven = (0, 0)
        return [self._enable.off, self._vent.off, self._dump.off, self._pump.off]

    def stop_pwm(self) -> None:
        self._pump.frequency = None
        self._pump.pin.state = 0
