"""TOML (or JSON) from a person's hands into typed values, or one line that says what is wrong and what would be right.

The one place where a settings, protocol or screening file is read. Imports the standard library and msgspec only, so
that `settings` and `prescription` can both stand on it without knowing each other. Every complaint has one form:
`FILE: KEY = VALUE: must be …`, with the key dotted and list items counted from 1 (`cuffs[2].sensor.address`).
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import msgspec
from msgspec import inspect

T = TypeVar("T")

# A bench or a protocol is a few kilobytes; this only keeps out what is neither. A protocol is read by the loop of an
# idle bench, and 1 MB would take it most of a second.
LARGEST_FILE_BYTES: Final = 20_000
_SHOWN: Final = 60  # characters of a value that an error line repeats
_UNITS: Final = {
    "_mmhg_s": "mmHg/s",
    "_mmhg": "mmHg",
    "_percent_1rm": "% of 1RM",
    "_hz": "Hz",
    "_v": "V",
    "_ml": "mL",
    "_cm": "cm",
    "_l_min": "L/min",
    "_hours": "h",
    "_s": "s",
}


class BadInput(Exception):
    """A file or an argument that cannot be used. Its text is one line: `FILE: KEY = VALUE: must be …`.

    `key` is "" when it is the file as a whole; `value` is left out of the line where there is none (`MISSING`).
    """

    def __init__(self, source: str | Path, key: str, value: object, must: str) -> None:
        self.source, self.key, self.value, self.must = str(source), key, value, must
        parts = [_one_line(self.source)]
        if key:
            parts.append(_one_line(key) if value is MISSING else f"{_one_line(key)} = {shown(value)}")
        super().__init__(": ".join([*parts, f"must be {must}"]))


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


def shown(value: object, depth: int = 3) -> str:
    """A value as its owner would write it in TOML, on one line, not too long and not too deep."""
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, int) and abs(value) >= 10**30:
        text = "a number of more than 30 digits"
    elif isinstance(value, float):
        text = f"{value:.12g}"
    elif isinstance(value, dict):
        text = "{…}" if value else "{}"
    elif isinstance(value, (list, tuple)):
        items = [shown(item, depth - 1) for item in value[:10]] if depth else ["…"]
        text = "[" + ", ".join(items) + (", …]" if depth and len(value) > 10 else "]")
    else:
        text = str(value)
    text = _one_line(text)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def read_text(path: Path) -> str:
    """The text of a file. Raises BadInput when it is missing, not a file, too large, binary or not UTF-8."""
    try:
        if not path.exists():
            raise BadInput(path, "", MISSING, "a file that exists")
        if not path.is_file():
            raise BadInput(path, "", MISSING, "a regular file")
        with path.open("rb") as file:
            raw = file.read(LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise BadInput(path, "", MISSING, f"a file that can be read ({reason})") from None
    if len(raw) > LARGEST_FILE_BYTES:
        raise BadInput(path, "", MISSING, f"smaller than {LARGEST_FILE_BYTES} bytes")
    if b"\0" in raw:
        raise BadInput(path, "", MISSING, "a text file (it holds binary data)")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(path, "", MISSING, f"text in UTF-8 (byte {error.start + 1} is not)") from None


def read(path: Path) -> dict[str, Any]:
    """The raw table of a TOML file, or of a JSON one when its name ends in `.json`. Raises BadInput."""
    text = read_text(path)
    kind = "JSON" if path.suffix.lower() == ".json" else "TOML"
    try:
        data = _json(text) if kind == "JSON" else tomllib.loads(text)
    except RecursionError:
        raise BadInput(path, "", MISSING, f"{kind} that is less deeply nested") from None
    except ValueError as error:  # TOMLDecodeError and JSONDecodeError, and what their number parsing raises
        raise BadInput(path, "", MISSING, f"valid {kind} ({str(error).splitlines()[0]})") from None
    if not isinstance(data, dict):
        raise BadInput(path, "", MISSING, f"a {kind} table")
    return data


def _json(text: str) -> Any:
    """JSON where a key that is written twice is an error, as it is in TOML: the second would silently win."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"key {shown(twice)} is written twice")
        return table

    return json.loads(text, object_pairs_hook=once)


def load(path: Path, type_: type[T]) -> T:
    """A file as one of our structs. Raises BadInput."""
    return convert(read(path), type_, path)


def convert(data: object, type_: type[T], source: str | Path) -> T:
    """Raw values as one of our structs. Raises BadInput that names `source`, the key, its value and what it must be."""
    try:
        return msgspec.convert(data, type_)
    except msgspec.ValidationError as error:
        raise _complaint(str(error), data, type_, source) from None


# --- from msgspec's complaint to ours --------------------------------------------------------------------------


def _complaint(message: str, data: Any, type_: type, source: str | Path) -> BadInput:
    if message.startswith("Object contains unknown field"):  # an odd name may hold anything: look for it ourselves
        return _unknown_key(data, inspect.type_info(type_), "", source)
    head, separator, path = message.rpartition(" - at `$")
    key, value, kind = _walk(data, inspect.type_info(type_), path.rstrip("`") if separator else "")
    if match := re.match(r"Object missing required field `(\w+)`", head if separator else message):
        field = next(f for f in cast(inspect.StructType, bare(kind)).fields if f.encode_name == match[1])
        return BadInput(source, _join(key, match[1]), MISSING, f"given: {must_be(field.type, match[1])}")
    return BadInput(source, key or "the file", value if key else MISSING, must_be(kind, key))


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _walk(value: Any, kind: inspect.Type, path: str) -> tuple[str, Any, inspect.Type]:
    """Follow msgspec's path (`.cuffs[0].sensor`) through raw data and type; list items come out counted from 1."""
    key = ""
    for name, index in re.findall(r"\.(\w+)|\[(\d+|\.\.\.)\]", path):
        kind = bare(kind)
        if name:
            value = value[name]
            kind = next(f.type for f in cast(inspect.StructType, kind).fields if f.encode_name == name)
            key = _join(key, name)
        elif index == "...":  # a free table: msgspec does not say which key, so look for the value it refuses
            item = cast(inspect.DictType, kind).value_type
            name, value = next((n, v) for n, v in value.items() if not _accepted(v, item))
            kind, key = item, _join(key, str(name))
        else:
            value, key = value[int(index)], f"{key}[{int(index) + 1}]"
            kind = cast(inspect.VarTupleType, kind).item_type
    return key, value, kind


def _accepted(value: object, kind: inspect.Type) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    number = cast(inspect.FloatType, bare(kind))
    return (number.ge is None or value >= number.ge) and (number.le is None or value <= number.le)


def _unknown_key(value: Any, kind: inspect.Type, key: str, source: str | Path) -> BadInput:
    """The first key that no struct knows, depth first, with the nearest known one."""
    found = _find_unknown(value, kind, key)
    if found is None:  # msgspec saw one, so there is one; stay total all the same
        return BadInput(source, key or "the file", MISSING, "free of unknown keys")
    where, unknown, wrong, known = found
    near = _nearest(unknown, known)
    hint = f"did you mean {near}?" if near else f"known here: {', '.join(known)}"
    return BadInput(source, _join(where, unknown), wrong, f"left out: unknown key ({hint})")


def _find_unknown(value: Any, kind: inspect.Type, key: str) -> tuple[str, str, Any, list[str]] | None:
    kind = bare(kind)
    if isinstance(kind, inspect.StructType) and isinstance(value, dict):
        fields = {f.encode_name: f.type for f in kind.fields}
        for name, item in value.items():
            if name not in fields:
                return key, str(name), item, list(fields)
        inside = [(_join(key, name), item, fields[name]) for name, item in value.items()]
    elif isinstance(kind, inspect.VarTupleType) and isinstance(value, list):
        inside = [(f"{key}[{i + 1}]", item, kind.item_type) for i, item in enumerate(value)]
    else:
        return None
    return next((found for where, item, type_ in inside if (found := _find_unknown(item, type_, where))), None)


def _nearest(name: str, known: list[str]) -> str:
    import difflib  # only ever needed for an error line

    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return near[0] if near else ""


# --- what a type asks for, in words; the generated CONFIG.md uses the same -------------------------------------


def bare(kind: inspect.Type) -> inspect.Type:
    """The type behind its metadata and behind `| None`."""
    while isinstance(kind, (inspect.Metadata, inspect.UnionType)):
        if isinstance(kind, inspect.Metadata):
            kind = kind.type
        else:
            kind = next(t for t in kind.types if not isinstance(t, inspect.NoneType))
    return kind


def unit_of(key: str) -> str:
    """The unit that a key's name ends in, "" when it has none."""
    name = re.sub(r"\[\d+\]$", "", key).rpartition(".")[2]
    if name.startswith("percent_lop"):
        return "% of LOP"
    return next((unit for ending, unit in _UNITS.items() if name.endswith(ending)), "")


def must_be(kind: inspect.Type, key: str = "") -> str:
    """What a value of this type has to look like, in words for the end of an error line."""
    if isinstance(kind, inspect.Metadata):
        return str((kind.extra or {}).get("must") or must_be(kind.type, key))
    if isinstance(kind, inspect.UnionType):
        return must_be(next(t for t in kind.types if not isinstance(t, inspect.NoneType)), key)
    unit = unit_of(key)
    if isinstance(kind, (inspect.FloatType, inspect.IntType)):
        text = (
            f"a {'whole ' if isinstance(kind, inspect.IntType) else ''}number from {shown(kind.ge)} to {shown(kind.le)}"
        )
        return f"{text} {unit}" if unit else text
    if isinstance(kind, inspect.StrType):
        return f"text of {kind.min_length or 0} to {kind.max_length} characters" if kind.max_length else "text"
    if isinstance(kind, inspect.EnumType):
        return "one of " + ", ".join(shown(str(member.value)) for member in kind.cls)
    if isinstance(kind, inspect.LiteralType):
        return "one of " + ", ".join(shown(value) for value in kind.values)
    if isinstance(kind, inspect.VarTupleType):
        return f"a list of {kind.min_length or 0} to {kind.max_length}, each {must_be(kind.item_type, key)}"
    if isinstance(kind, inspect.BoolType):
        return "true or false"
    if isinstance(kind, inspect.DateType):
        return "a date (2026-01-31)"
    return "a table"
