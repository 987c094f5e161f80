"""What arrives at the command socket → the core's commands, and the core's replies → what goes back.

Everything that can be refused without the session's state is refused here, by the prescription room; the rest is the
core's. Nothing here waits: a command is answered by the next tick.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from math import isfinite
from pathlib import Path
from typing import Any, Final

from .control import Control
from .core.commands import not_now
from .core.commands import told as prescribed_as
from .core.limits import Limits
from .core.model import COUNTS, Command, EventKind, Phase, Reply, Verb
from .core.step import Stepped
from .prescription.prescribe import Refused
from .prescription.request import prescribed
from .prescription.screening import screen
from .tomlfile import BadInput

EARLIER_KEPT: Final = timedelta(days=8)


class BadOrder(Exception):
    """An order that no bench could take: a missing or malformed argument. A sentence for a person."""


class Orders:
    """The door of the bench's people. `submit` is what the command socket calls."""

    def __init__(
        self,
        control: Control,
        limits: Limits,
        utc: Callable[[], datetime],
        protocols: Path | None = None,
    ) -> None:
        self._control = control
        self._limits = limits
        self._utc = utc
        self._protocols = protocols
        self._earlier: dict[tuple[str, str], list[datetime]] = {}
        self._began: tuple[str, str, datetime] | None = None  # under way, and not counted yet

    def submit(self, verb: str, args: Mapping[str, Any], source: str = "socket") -> asyncio.Future[Mapping[str, Any]]:
        """One answer, in the tick that takes the command; at once where it is refused before that."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Mapping[str, Any]] = loop.create_future()
        phase = self._control.state.session.phase
        if verb == Verb.PRESCRIBE and phase not in (Phase.IDLE, Phase.READY):
            # before a file is read, and by the loop that is holding a pressure
            answer.set_result(self._told(verb, False, not_now(phase)))
            return answer
        try:
            command = self._command(Verb(verb), args, source)
        except (BadOrder, BadInput) as error:
            answer.set_result(self._told(verb, False, str(error)) | {"bad_input": True})
            return answer
        except Refused as refused:
            answer.set_result(self._told(verb, False, refused.text, refused.value, refused.limit, refused.unit))
            return answer
        except ValueError:
            answer.set_result(self._told(verb, False, f"{verb}: not a verb of this bench") | {"bad_input": True})
            return answer

        def replied(reply: asyncio.Future[Reply]) -> None:
            if answer.done() or reply.cancelled():
                return
            said = reply.result()
            answer.set_result(self._told(verb, said.ok, said.text, said.value, said.limit, said.unit))

        self._control.submit(command).add_done_callback(replied)
        return answer

    def _told(
        self,
        verb: str,
        ok: bool,
        text: str,
        value: float | None = None,
        limit: float | None = None,
        unit: str = "",
    ) -> dict[str, Any]:
        session = self._control.state.session
        phase = str(session.phase)
        if verb == Verb.PRESCRIBE and not ok:
            stands = "; ".join(prescribed_as(one) for one in session.prescriptions if one is not None)
            text += f". What was prescribed before still stands: {stands}" if stands else ""
        known = value if value is not None and isfinite(value) else None
        return {"ok": ok, "verb": verb, "phase": phase, "text": text, "value": known, "limit": limit, "unit": unit}

    # --- the commands --------------------------------------------------------------------------------------------

    def _command(self, verb: Verb, args: Mapping[str, Any], source: str) -> Command:
        by = str(args.get("by", ""))[:8]
        number = self._control.next_id()
        if verb is Verb.SCREEN:
            answers = args.get("answers")
            if not isinstance(answers, dict):
                raise BadOrder("answers: must be a table of answers")
            return Command(number, verb, by, source, screening=screen(answers, by))
        if verb is Verb.PRESCRIBE:
            return self._prescribe(number, args, by, source)
        if verb is Verb.ACKNOWLEDGE:
            return Command(number, verb, by, source, condition=str(args.get("condition", ""))[:60])
        if verb is Verb.RESET:
            return Command(number, verb, by, source, cuff_off=args.get("cuff_off") is True)
        if verb is Verb.SELFTEST:
            return Command(number, verb, by, source, answer=str(args.get("confirm") or "")[:40].strip())
        return Command(number, verb, by, source)

    def _prescribe(self, number: int, args: Mapping[str, Any], by: str, source: str) -> Command:
        said = {key: word for key, word in args.items() if word is not None and key != "id"}
        now = self._utc()
        protocol = str(said.get("protocol", ""))
        if protocol.endswith(".toml"):  # a protocol is called as its file is
            protocol = Path(protocol).stem
        key = (str(said.get("code", "")), protocol)
        made = prescribed(
            said,
            now_utc=now,
            cuffs=len(self._control.outputs.cuffs),
            limits=self._limits,
            protocols=self._protocols,
            earlier_utc=[at for at in self._earlier.get(key, []) if now - at < EARLIER_KEPT],
        )
        return Command(number, Verb.PRESCRIBE, by, source, prescription=made)

    def after(self, stepped: Stepped, _now_s: float) -> None:
        """Look at one tick: a session counts towards its protocol's weekly limit from where `COUNTS` says, with the
        time of its start. The journal counts alike, for the next run."""
        for happened in stepped.events:
            if happened.kind is EventKind.STARTED:
                self._began = (str(happened.data["code"]), str(happened.data["protocol"]), self._utc())
            elif happened.kind in COUNTS and self._began is not None:
                self.recall(*self._began)
                self._began = None

    def recall(self, code: str, protocol: str, at: datetime) -> None:
        """A session that counts, of this run of the bench or an earlier one."""
        self._earlier.setdefault((code, protocol), []).append(at)
