"""What a Pico's `machine` is to the guard, for MicroPython on a desk. The folder WORLD is what its pins are wired to.

Out of it go `lines` (one line a change: microseconds of the monotonic clock, GPIO, value) and `fed` (when the watchdog
was fed last; whoever started the process resets it when that is too long ago). Into it come `estop` (there: the loop is
open), `b0` and `b1` (seven bytes in hex that the ABP2 on that bus answers; not there: nobody answers), `adc26` and so
on (a number), `hang` (there: the next pass never ends) and `broken` (there: the next pass raises).
"""

import os
import sys
import time

RESET = 77  # how the process ends when the board resets itself
EREMOTEIO = 121
_folder = os.getenv("WORLD") + "/"


def _read(name):
    try:
        with open(_folder + name) as file:
            return file.read()
    except OSError:
        return None


class Log:
    def __init__(self, name):
        self._file = open(_folder + name, "a")

    def write(self, *words):
        self._file.write(" ".join([str(word) for word in words]) + "\n")


_lines = Log("lines")


class Pin:
    IN = 0
    OUT = 1
    PULL_UP = 1

    def __init__(self, gpio, mode=IN, pull=-1, value=None):
        self.gpio = gpio
        self._mode = mode
        self._value = None
        if value is not None:
            self.value(value)

    def value(self, value=None):
        if value is None:
            while _read("hang") is not None:
                time.sleep_ms(20)
            return 0 if _read("estop") is None else 1
        assert self._mode == self.OUT
        if value != self._value:
            self._value = value
            _lines.write(time.ticks_us(), self.gpio, value)
        return None


class PWM:
    def __init__(self, pin, freq=0, duty_u16=0):
        self._gpio = pin.gpio
        self._duty = None
        assert freq > 0
        self.duty_u16(duty_u16)

    def duty_u16(self, duty):
        assert 0 <= duty <= 65535
        if duty != self._duty:
            self._duty = duty
            _lines.write(time.ticks_us(), self._gpio, duty)


class I2C:
    """An ABP2 alone on a bus: what it answers is in the world; without a command it answers nothing new."""

    def __init__(self, bus, scl=None, sda=None, freq=400000, timeout=50000):
        assert scl is not None
        assert sda is not None
        assert timeout < 10000
        self._name = "b" + str(bus)
        self._started = False

    def writeto(self, address, data):
        assert address == 0x28
        if _read(self._name) is None:
            raise OSError(EREMOTEIO)
        self._started = bytes(data) == b"\xaa\0\0"

    def readfrom_into(self, address, frame):
        if _read("broken") is not None:
            raise RuntimeError("as the test wants it")
        said = _read(self._name)
        if said is None or not self._started or address != 0x28:
            raise OSError(EREMOTEIO)
        for index in range(len(frame)):
            frame[index] = int(said[2 * index : 2 * index + 2], 16)


class ADC:
    def __init__(self, gpio):
        self._name = "adc" + str(gpio)

    def read_u16(self):
        return int(_read(self._name) or "0")


class WDT:
    def __init__(self, timeout):
        _lines.write(time.ticks_us(), "watchdog", timeout)
        self._file = open(_folder + "fed", "w")
        self.feed()

    def feed(self):
        self._file.seek(0)
        self._file.write("%020d" % time.ticks_us())


def reset():
    _lines.write(time.ticks_us(), "reset", 0)
    sys.exit(RESET)
