"""Where protocols are found: by name in the clinic's folders first, then among those that come with the program."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from controller.tomlfile import MISSING, BadInput, shown

from .protocol import Protocol, load_protocol

SYSTEM: Final = Path("/etc/manchet/protocols")
_PACKAGE: Final = Path(__file__).resolve().parents[1]
PACKAGED: Final = _PACKAGE / "_config" / "protocols"  # in a wheel
CHECKOUT: Final = _PACKAGE.parent / "config" / "protocols"  # in a checkout or an editable install


def folders(extra: Path | None = None) -> tuple[Path, ...]:
    """The folders that exist, first come first served. `extra` is `--protocols`. Raises BadInput when it is none."""
    if extra is not None and not extra.is_dir():
        raise BadInput(f"--protocols = {extra}", "", MISSING, "a folder that exists")
    return tuple(folder for folder in (extra, SYSTEM, PACKAGED, CHECKOUT) if folder is not None and folder.is_dir())


def find_protocols(extra: Path | None = None) -> dict[str, Path]:
    """Every protocol file by name, sorted; a clinic's own hides one of the same name that came with the program."""
    found: dict[str, Path] = {}
    for folder in reversed(folders(extra)):
        found.update({path.stem: path for path in folder.glob("*.toml")})
    return dict(sorted(found.items()))


def named(name: str, extra: Path | None = None) -> Protocol:
    """The protocol of this name, or of this file when it ends in `.toml`; loaded and checked. Raises BadInput."""
    found = find_protocols(extra)
    if name.endswith(".toml"):
        return load_protocol(Path(name))
    if name not in found:
        known = ", ".join(found) or "none found; see --protocols"
        raise BadInput(f"PROTOCOL = {shown(name)}", "", MISSING, f"one of those found: {known}")
    return load_protocol(found[name])
