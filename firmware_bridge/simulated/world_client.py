"""A process's end of the wires that end in a world (`world.py`): an I2C bus, gpiozero's pins, the person in the cuff.

Each has a connection of its own. `WorldBus` has the surface of `smbus2.SMBus`, `world_factory` is a pin factory of
gpiozero's, so that the drivers and the guard's lines on top of them are the real ones. The real ones also wait as long
as their device lets them wait: a world that does not answer hangs whoever asks it, as a wedged bus does.
"""

from __future__ import annotations

import errno
import json
import socket
import time
from contextlib import suppress
from ctypes import addressof, c_char
from os import strerror
from pathlib import Path
from typing import Any, Final

from .bus import I2C_M_RD, SMBUS_NUMBER

READ_BYTES: Final = 65536


class Wire:
    """A connection to a world. Raises OSError where there is none."""

    def __init__(self, path: Path) -> None:
        self._buffer = b""
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.socket.connect(str(path))
        except OSError as error:
            self.socket.close()
            raise OSError(
                error.errno, f"{path}: no world listens there ({error.strerror}); start `manchet world`"
            ) from error

    def say(self, request: dict[str, Any]) -> None:
        self.socket.sendall(json.dumps(request).encode() + b"\n")

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self.say(request)
        while b"\n" not in self._buffer:
            data = self.socket.recv(READ_BYTES)
            if not data:
                raise OSError(errno.ENODEV, "the world has ended")
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def heard(self) -> list[dict[str, Any]]:
        """What has come without being asked for. Does not wait."""
        try:
            self._buffer += self.socket.recv(READ_BYTES, socket.MSG_DONTWAIT)
        except OSError:  # nothing has come, or nothing will
            return []
        *lines, self._buffer = self._buffer.split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        self.socket.close()


class WorldBus:
    """One I2C bus of a world, with the surface of `smbus2.SMBus`."""

    def __init__(self, path: Path, number: int) -> None:
        self.fd = SMBUS_NUMBER
        self._number = number
        self._path = path
        self._wire: Wire | None = None

    def i2c_rdwr(self, *i2c_msgs: Any) -> None:
        """One combined transfer of `smbus2.i2c_msg` objects. Raises OSError as the bus would."""
        wire = self._wire = self._wire or Wire(self._path)
        buffers = [(c_char * message.len).from_address(addressof(message.buf.contents)) for message in i2c_msgs]
        reads = [bool(message.flags & I2C_M_RD) for message in i2c_msgs]
        of = [
            [message.addr, message.len if read else buffer.raw.hex()]
            for message, read, buffer in zip(i2c_msgs, reads, buffers, strict=True)
        ]
        try:
            answer = wire.ask({"i2c": self._number, "of": of})
        except OSError:
            self.close()
            raise
        number = answer.get("errno")
        if number is not None:
            raise OSError(number, strerror(number))
        said = iter(answer["read"])
        for read, buffer in zip(reads, buffers, strict=True):
            if read:
                buffer.raw = bytes.fromhex(next(said))

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None


class WorldLimb:
    """The person in one cuff, moved by whoever follows the cues. What a world that has gone does not hear is lost."""

    def __init__(self, path: Path, cuff: int) -> None:
        self._path = path
        self._cuff = cuff
        self._wire: Wire | None = None

    def begin_set(self, at_s: float, concentric_s: float, pause_s: float, eccentric_s: float, count: int) -> None:  # noqa: ARG002 (the world has its own clock)
        self._say({"limb": self._cuff, "begin": [concentric_s, pause_s, eccentric_s, count]})

    def end_set(self, at_s: float) -> None:  # noqa: ARG002
        self._say({"limb": self._cuff, "end": True})

    def _say(self, request: dict[str, Any]) -> None:
        try:
            self._wire = self._wire or Wire(self._path)
            self._wire.say(request)
        except OSError:
            self.close()

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None


def world_factory(path: Path) -> Any:
    """A pin factory of gpiozero's whose outputs end in a world, and whose inputs are its E-stop loop."""
    from gpiozero.pins.mock import MockFactory, MockPWMPin

    wire = Wire(path)
    estop_ok = False

    def tell(levels: dict[str, float]) -> None:
        """A world that has ended has no lines that could be high, and a line of a Pi does not fail for it."""
        with suppress(OSError):
            wire.say({"pins": levels, "at": time.monotonic()})

    class WorldPin(MockPWMPin):  # type: ignore[misc]
        """Says every change of level; a line that is no output is at its pull-down."""

        def _change_state(self, value: float) -> bool:
            changed = bool(self._state != value)  # type: ignore[has-type]
            self._state = value
            if changed and self._function == "output":
                tell({self.info.name.removeprefix("GPIO"): float(value)})
            return changed

        def _set_function(self, value: str) -> None:
            was = self._function
            super()._set_function(value)
            if was == "output" and value == "input":
                tell({self.info.name.removeprefix("GPIO"): 0.0})

        def _get_state(self) -> Any:
            nonlocal estop_ok
            if self._function != "input":
                return self._state
            for said in wire.heard():
                estop_ok = bool(said.get("estop_ok", estop_ok))
            return not estop_ok  # closed to ground, pulled up

    class WorldFactory(MockFactory):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(pin_class=WorldPin)
            tell({})

        def close(self) -> None:
            super().close()
            wire.close()

    return WorldFactory()
