"""What the verb `prescribe` says over the socket, as a prescription. The shape is that of `manchet prescribe`.

Imports `core` and this package. Units are in the names; cuffs are counted from 1, as people do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from controller.core.limits import DEFAULT_LIMITS, Limits
from controller.core.model import Limb, Mode, Prescription, Side
from controller.tomlfile import BadInput, convert

from .library import named
from .prescribe import Lop, LopMethod, Posture, Refused, prescribe

# Only to keep out what is no number at all: prescribe() refuses what is out of range, and says why.
_Mmhg = Annotated[float, Meta(ge=0.0, le=1000.0)]
_Cm = Annotated[float, Meta(ge=0.0, le=200.0)]
_Word = Annotated[str, Meta(max_length=400)]


class Request(Struct, frozen=True, forbid_unknown_fields=True):
    """The arguments of `prescribe`. The ones of the LOP may be left out where the protocol has no cuff."""

    protocol: _Word
    code: _Word
    limb: Limb
    side: Side
    posture: Posture
    by: _Word
    cuff_width_cm: _Cm | None = None
    lop_mmhg: _Mmhg | None = None
    lop_again_mmhg: _Mmhg | None = None
    lop_method: LopMethod | None = None
    lop_limb: Limb | None = None  # of which limb and side it was measured; the cuff's own, unless said otherwise
    lop_side: Side | None = None
    lop_posture: Posture | None = None
    lop_cuff_width_cm: _Cm | None = None
    lop_at: _Word | None = None
    lop_by: _Word | None = None  # who measured it; whoever prescribes, unless it was somebody else
    percent_lop: Annotated[float, Meta(ge=0.0, le=1000.0)] | None = None
    cuff: Annotated[int, Meta(ge=1, le=2)] = 1


def prescribed(
    said: Mapping[str, object],
    *,
    now_utc: datetime,
    cuffs: int = 1,
    limits: Limits = DEFAULT_LIMITS,
    protocols: Path | None = None,
    earlier_utc: Sequence[datetime] = (),
) -> Prescription:
    """The prescription that was asked for, with the provenance of the LOP behind it.

    Raises BadInput for arguments that make no sense, Refused for a prescription that is not made.
    """
    request = convert(dict(said), Request, "prescribe")
    if request.cuff > cuffs:
        raise BadInput("prescribe", "cuff", request.cuff, f"at most {cuffs}: this bench has no more")
    protocol = named(request.protocol, protocols)
    lop = None if protocol.mode is Mode.NONE else _lop(request)
    return prescribe(
        protocol,
        code=request.code,
        limb=request.limb,
        side=request.side,
        posture=request.posture,
        cuff_width_cm=request.cuff_width_cm or 0.0,
        lop=lop,
        by=request.by,
        now_utc=now_utc,
        percent_lop=request.percent_lop,
        cuff=request.cuff - 1,
        limits=limits,
        earlier_utc=earlier_utc,
    )


def _lop(request: Request) -> Lop:
    given = (
        request.lop_mmhg,
        request.lop_again_mmhg,
        request.lop_method,
        request.lop_posture,
        request.lop_cuff_width_cm,
        request.lop_at,
    )
    mmhg, again_mmhg, method, posture, width_cm, at = given
    if (
        mmhg is None
        or again_mmhg is None
        or method is None
        or posture is None
        or width_cm is None
        or at is None
        or request.cuff_width_cm is None
    ):
        raise Refused(
            "an LOP comes with its pressure typed twice, method, posture, cuff width and time, and the fitted width"
        )
    by = request.by if request.lop_by is None else request.lop_by
    limb = request.limb if request.lop_limb is None else request.lop_limb
    side = request.side if request.lop_side is None else request.lop_side
    return Lop(mmhg, again_mmhg, method, limb, side, posture, width_cm, _time(at), by)


def _time(text: str) -> datetime:
    """An ISO 8601 time; without a zone it is this machine's."""
    try:
        at = datetime.fromisoformat(text)
        return at if at.tzinfo is not None else at.astimezone()
    except (ValueError, OverflowError, OSError):
        raise BadInput("prescribe", "lop_at", text, "a time as 2026-01-31T09:30") from None
