"""One pass of a guard board: heartbeat, bytes in, sensors B, the guard's decision, pins, bytes out, watchdog.

Everything it touches is given to it and looks like MicroPython's `machine`, so that the same pass runs on a Pico, in
MicroPython on a desk and in virtual time. Integers: ms, tenths of a mmHg, thousandths of duty.
"""

from .guard import PASS_LATE_MS, TICKS, ticks_diff
from .wire import ARMED, DUMP_CLOSED, FLASHING, NO_READING, PUMP_ENABLE, VENT_CLOSED

PASS_MS = 10
APART_MS = 6  # between two passes, however late one was: an ABP2 that is read within 5 ms gives nothing
WATCHDOG_MS = 200


class Lines:
    """The output lines of one cuff, active-high: low is pump off and coil without current, which is an open valve."""

    def __init__(self, pump, enable, vent, dump) -> None:
        """pump: a PWM with `duty_u16`; the others: pins with `value`."""
        self._pump = pump
        self._enable = enable
        self._vent = vent
        self._dump = dump

    def drive(self, duty: int, flags: int) -> None:
        """Set all four, whatever they are: a pin that something else has changed is put right on the next pass."""
        self._enable.value(1 if flags & PUMP_ENABLE else 0)
        self._pump.duty_u16(duty * 65535 // 1000)
        self._vent.value(1 if flags & VENT_CLOSED else 0)
        self._dump.value(1 if flags & DUMP_CLOSED else 0)


class Board:
    """A guard with its lines. Call `one_pass` every PASS_MS until it returns False, and `low` whenever that ends."""

    def __init__(self, guard, serial, lines, sensors, estop, heartbeat, start_watchdog) -> None:
        """guard: a `Guard`. serial: `read()` and `write(data)` that do not wait, and `ready()` to write.
        lines, sensors: one a cuff; a sensor's `convert()` gives tenths of a mmHg or NO_READING.
        estop: a pin that is low while the stop loop is whole. heartbeat: a pin.
        start_watchdog: called at the first ARM, gives what is fed."""
        self.guard = guard
        self._serial = serial
        self._lines = lines
        self._sensors = sensors
        self._estop = estop
        self._heartbeat = heartbeat
        self._start_watchdog = start_watchdog
        self._watchdogs: list = []  # type: ignore[type-arg]  # none before the first ARM, then one
        self._b = [NO_READING, NO_READING]
        self._beat = 0
        self._begun_ms = -1  # when the last pass began; none has
        self.low()

    def one_pass(self, now_ms: int) -> bool:
        """False when the guard has been told to leave its loop. What raises in here ends in `low` and a reset."""
        guard = self.guard
        now_ms &= TICKS
        # An edge for the pass before, if it was whole and in time. A pass that hung in a bus gives none at its end, nor
        # does the next: by then the guard has tripped, and the monostable must not close the valves again before.
        if self._begun_ms >= 0 and 0 <= ticks_diff(now_ms, self._begun_ms) <= PASS_LATE_MS:
            self._beat ^= 1
            self._heartbeat.value(self._beat)
        self._begun_ms = now_ms
        data = self._serial.read()
        if data:
            guard.on_bytes(data, now_ms)
        index = 0
        for sensor in self._sensors:
            self._b[index] = sensor.convert()
            index += 1
        guard.tick(now_ms, self._b, self._estop.value() == 0)
        index = 0
        for lines in self._lines:
            output = guard.outputs[index]
            lines.drive(output.duty, output.flags)
            index += 1
        if self._serial.ready():  # a host that does not read must not hold the loop up; the guard keeps the newest
            data = guard.take_bytes()
            if data:
                self._serial.write(data)
        if not self._watchdogs and guard.state == ARMED:
            self._watchdogs.append(self._start_watchdog())  # nothing stops it again, hence not before it is needed
        for watchdog in self._watchdogs:
            watchdog.feed()  # here and nowhere else: by a whole pass
        return True if guard.state != FLASHING else False

    def low(self) -> None:
        """Every line low, whatever the guard says."""
        for lines in self._lines:
            lines.drive(0, 0)
        self._heartbeat.value(0)
