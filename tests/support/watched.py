"""What is looked at while a simulated session is disturbed: the plant, the pins and the limb's clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.core.model import EventKind, Phase
from controller.core.step import Stepped
from controller.scenario.run import Lived


@dataclass
class Watched:
    """What happened, seen from the plant and the pins."""

    ceiling_mmhg: float
    lived: list[Lived] = field(default_factory=list)
    above_ceiling_s: float = 0.0
    pumped_after: list[float] = field(default_factory=list)
    closed_after: list[float] = field(default_factory=list)
    tripped_at_s: float | None = None
    fault_at_s: float | None = None
    clock_went_back: bool = False
    _above_s: float = 0.0
    _may_inflate: bool = True
    _restricted_s: float = 0.0

    def look(self, lived: Lived) -> None:
        self.lived.append(lived)
        lived.control.watch(self.after)

    def after(self, stepped: Stepped, now_s: float) -> None:
        lived = self.lived[0]
        true = lived.bench.cuffs[0].cuff_mmhg
        self._above_s = self._above_s + 0.01 if true > self.ceiling_mmhg else 0.0
        self.above_ceiling_s = max(self.above_ceiling_s, self._above_s)
        for happened in stepped.events:
            if happened.kind is EventKind.STARTED:
                self._may_inflate = True
            elif happened.kind is EventKind.TRIP and self.tripped_at_s is None:
                self.tripped_at_s = now_s
        if stepped.state.session.phase in (Phase.FAULT, Phase.STOPPING, Phase.IDLE):
            self._may_inflate = not lived.supervisor.started
        if not self._may_inflate:
            for out in stepped.outputs.cuffs:
                if out.pump_enabled:
                    self.pumped_after.append(now_s)
                if not (out.vent_open and out.dump_open):
                    self.closed_after.append(now_s)
        clock = stepped.state.session.clock_of(0)
        if clock is not None:
            if clock.restricted_s < self._restricted_s and clock.free_s < 180.0:
                self.clock_went_back = True
            self._restricted_s = clock.restricted_s
