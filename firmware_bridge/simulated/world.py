"""The physics of a bench as a process of its own, in real time: what the wires of a guard process and of a control
process end in when both are real and there is nobody's limb.

`World` is the electricity between pins and plant: coil and pump supply through a retriggerable monostable that drops
MONOSTABLE_S after the last edge of the heartbeat whatever the pins say, an E-stop loop that cuts the same supply,
pull-downs that take over when nobody drives the pins. `WorldServer` lets processes reach it over a Unix socket, one
JSON object a line (`world_client.py` is the other end):

    {"i2c": BUS, "of": [[ADDRESS, "aa0000"], [ADDRESS, 7]]}  → {"read": ["40..."]} or {"errno": 121}
    {"pins": {"13": 1.0, ...}, "at": SECONDS}                → nothing; {"estop_ok": true} at first and at every change
    {"limb": CUFF, "begin": [1.0, 0.0, 1.0, 30]} or "end"    → nothing: the person in the cuff moves, or relaxes
    {"look": true}                                           → true pressures, valves, coils, lines
    {"log": FROM}                                            → {"log": [[SECONDS, WHAT, VALUE], ...], "next": N}
    {"fault": {...}}                                         → {"ok": true}; see `_fault`

The connection that sets pins is the guard: its end is the end of whoever drove the lines, and they go low. Times are
those of the monotonic clock, which every process of a machine shares; a change of pins is logged with the time at
which the guard made it. Pressures are mmHg.
"""

from __future__ import annotations

import errno
import json
import select
import socket
from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import Any, Final

from ..pins import GuardLines
from .bus import SimulatedBus
from .guard import MONOSTABLE_S
from .limb import SimulatedLimb
from .plant import Cuff

STEP_S: Final = 0.005  # how often valves are looked at while nobody asks for anything
LINE_MAX: Final = 1 << 16
READ_BYTES: Final = 65536
LOG_KEPT: Final = 100_000


class World:
    """Cuffs, buses and what is between the guard's lines and its coils."""

    def __init__(
        self,
        cuffs: Sequence[Cuff],
        limbs: Sequence[SimulatedLimb],
        buses: Mapping[int, SimulatedBus],
        lines: GuardLines,
        now_s: float,
    ) -> None:
        self.cuffs = tuple(cuffs)
        self.limbs = tuple(limbs)
        self.buses = dict(buses)
        self.estop_open = False
        self.log: list[tuple[float, str, Any]] = []
        self.levels = dict.fromkeys(lines.outputs, 0.0)
        self._lines = lines
        self._edge_at_s = -inf if lines.heartbeat is not None else inf
        self._stands: dict[str, Any] = {}
        self._supply(now_s)

    def set_pins(self, levels: Mapping[int, float], now_s: float) -> None:
        """What the guard drives its lines to."""
        self.settle(now_s)
        for line, level in levels.items():
            if line == self._lines.heartbeat and level != self.levels[line]:
                self._edge_at_s = now_s
            self.levels[line] = level
        self._supply(now_s)

    def pins_gone(self, now_s: float) -> None:
        """Nobody drives the lines any more: the pull-downs do."""
        self.settle(now_s)
        self.levels = dict.fromkeys(self.levels, 0.0)
        self._note(now_s, "lines_driven", False)
        self._supply(now_s)

    def settle(self, now_s: float) -> None:
        """Integrate up to now, with the supply's drop at the instant at which it was due."""
        if self._stands["supply"] and now_s >= self.lapses_at_s:
            self._supply(self.lapses_at_s)
        for cuff in self.cuffs:
            cuff.advance(now_s)
        self._note_valves(now_s)

    def press_estop(self, open_: bool, now_s: float) -> None:
        self.settle(now_s)
        self.estop_open = open_
        self._supply(now_s)

    @property
    def lapses_at_s(self) -> float:
        """When the monostable lets go unless there is another edge."""
        return self._edge_at_s + MONOSTABLE_S

    def _supply(self, at_s: float) -> None:
        """Give the plant what is left of the lines at this instant."""
        supplied = not self.estop_open and at_s < self.lapses_at_s
        self._note(at_s, "supply", supplied)
        for number, (cuff, lines) in enumerate(zip(self.cuffs, self._lines.cuffs, strict=True), start=1):
            cuff.advance(at_s)
            cuff.pump_duty = self.levels[lines.pump] if supplied else 0.0
            cuff.pump_enabled = bool(supplied and self.levels[lines.pump_enable])
            cuff.vent_open = not (supplied and self.levels[lines.vent])
            cuff.dump_open = not (supplied and self.levels[lines.dump])
            self._note(at_s, f"pump_{number}", cuff.pump_enabled and cuff.pump_duty > 0.0)
            self._note(at_s, f"vent_coil_{number}", not cuff.vent_open)
            self._note(at_s, f"dump_coil_{number}", not cuff.dump_open)
        self._note_valves(at_s)

    def _note_valves(self, at_s: float) -> None:
        for number, cuff in enumerate(self.cuffs, start=1):
            self._note(at_s, f"vent_open_{number}", cuff.vent_is_open)
            self._note(at_s, f"dump_open_{number}", cuff.dump_is_open)

    def _note(self, at_s: float, what: str, value: Any) -> None:
        """Log what is not as it was."""
        if self._stands.get(what) != value and len(self.log) < LOG_KEPT:
            self.log.append((at_s, what, value))
        self._stands[what] = value

    def look(self, now_s: float) -> dict[str, Any]:
        """Everything there is to see."""
        self.settle(now_s)
        return {
            "at": now_s,
            "estop_ok": not self.estop_open,
            "lines": {str(line): level for line, level in self.levels.items()},
            "cuffs": [{"true_mmhg": one.cuff_mmhg, "manifold_mmhg": one.manifold_mmhg} for one in self.cuffs],
            **self._stands,
        }


class WorldServer:
    """Lets processes reach a world."""

    def __init__(self, world: World, listener: socket.socket, clock: Callable[[], float]) -> None:
        self._world = world
        self._listener = listener
        self._clock = clock
        self._clients: dict[socket.socket, bytes] = {}
        self._guard: socket.socket | None = None
        self._blocked_until_s: dict[int, float] = {}
        self._deferred: list[tuple[socket.socket, dict[str, Any]]] = []  # transfers on a bus that blocks
        listener.setblocking(False)

    def serve(self, ended: Callable[[], bool]) -> None:
        while not ended():
            self.once()
        for connection in self._clients:
            connection.close()

    def once(self) -> None:
        """Wait for somebody to say something, a step at most, and do it."""
        wait_s = min(STEP_S, max(0.0, self._world.lapses_at_s - self._clock()) or STEP_S)
        readable, _, _ = select.select([self._listener, *self._clients], [], [], wait_s)
        for connection in readable:
            if connection is self._listener:
                accepted, _ = connection.accept()
                accepted.setblocking(False)
                self._clients[accepted] = b""
            elif connection in self._clients:
                self._read(connection)
        deferred, self._deferred = self._deferred, []
        for connection, request in deferred:
            if connection in self._clients:
                self._transfer(connection, request)
        self._world.settle(self._clock())

    def _read(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or len(self._clients[connection]) > LINE_MAX:
            self._close(connection)
            return
        *lines, rest = (self._clients[connection] + data).split(b"\n")
        self._clients[connection] = rest
        try:
            for line in lines:
                if connection in self._clients:
                    self._heed(connection, json.loads(line))
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):  # it does not speak as we do
            self._close(connection)

    def _heed(self, connection: socket.socket, request: dict[str, Any]) -> None:
        world, now_s = self._world, self._clock()
        if "i2c" in request:
            self._transfer(connection, request)
        elif "pins" in request:
            levels = {int(line): float(level) for line, level in request["pins"].items()}
            world.set_pins(levels, min(now_s, float(request["at"])))
            if self._guard is not connection:
                self._guard = connection
                self._say(connection, {"estop_ok": not world.estop_open})  # it may be gone, and then its pins are too
        elif "limb" in request:
            limb = world.limbs[request["limb"]]
            if "begin" in request:
                concentric_s, pause_s, eccentric_s, count = request["begin"]
                limb.begin_set(now_s, concentric_s, pause_s, eccentric_s, count)
            else:
                limb.end_set(now_s)
        elif "look" in request:
            self._say(connection, world.look(now_s))
        elif "log" in request:
            world.settle(now_s)
            self._say(connection, {"log": world.log[request["log"] :], "next": len(world.log)})
        elif "fault" in request:
            self._fault(request["fault"], now_s)
            self._say(connection, {"ok": True})
        else:
            raise KeyError("none of the requests above")

    def _fault(self, fault: dict[str, Any], now_s: float) -> None:
        """`{"block_bus": 1, "for_s": 2.0}`: transfers on it are answered so much later; `{"estop_open": true}`;
        `{"clench_ml": 20.0, "cuff": 0}`: the limb swells by so much, and stays so until the person moves;
        `{"bus_error": 110, "bus": 1}`: every transfer on it ends with this, until null."""
        world = self._world
        if "block_bus" in fault:
            self._blocked_until_s[fault["block_bus"]] = now_s + fault["for_s"]
        if "estop_open" in fault:
            world.press_estop(fault["estop_open"], now_s)
            if self._guard is not None:
                self._say(self._guard, {"estop_ok": not world.estop_open})
        if "clench_ml" in fault:
            world.limbs[fault["cuff"]].clench(now_s, fault["clench_ml"])
        if "bus_error" in fault:
            world.buses[fault["bus"]].error = fault["bus_error"]

    def _transfer(self, connection: socket.socket, request: dict[str, Any]) -> None:
        number = request["i2c"]
        now_s = self._clock()
        if now_s < self._blocked_until_s.get(number, -inf):
            self._deferred.append((connection, request))
            return
        self._world.settle(now_s)
        bus = self._world.buses.get(number)
        if bus is None:
            self._say(connection, {"errno": errno.EREMOTEIO})
            return
        from smbus2 import i2c_msg

        messages = [
            i2c_msg.read(address, what) if isinstance(what, int) else i2c_msg.write(address, bytes.fromhex(what))
            for address, what in request["of"]
        ]
        try:
            bus.i2c_rdwr(*messages)
        except OSError as error:
            self._say(connection, {"errno": error.errno})
            return
        asked = zip(messages, request["of"], strict=True)
        self._say(connection, {"read": [bytes(one).hex() for one, (_, what) in asked if isinstance(what, int)]})

    def _say(self, connection: socket.socket, answer: Mapping[str, Any]) -> None:
        try:
            connection.send(json.dumps(answer).encode() + b"\n")
        except OSError:  # gone, or it does not read: its own affair
            self._close(connection)

    def _close(self, connection: socket.socket) -> None:
        connection.close()
        self._clients.pop(connection, None)
        if connection is self._guard:
            self._guard = None
            self._world.pins_gone(self._clock())
