"""A bad file gets one line that says what is wrong and what would be right, whatever is in it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta, Struct

from controller.tomlfile import LARGEST_FILE_BYTES, BadInput, convert, load, read


class Inner(Struct, frozen=True, forbid_unknown_fields=True):
    rest_s: Annotated[float, Meta(ge=30.0, le=60.0)]
    note: Annotated[str, Meta(min_length=1, max_length=9)] | None = None


class Outer(Struct, frozen=True, forbid_unknown_fields=True):
    items: Annotated[tuple[Inner, ...], Meta(min_length=1, max_length=2)]
    count: Annotated[int, Meta(ge=1, le=3)] = 1
    free: dict[str, Annotated[float, Meta(ge=0.0, le=9.0)]] = {}


def line(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        load(path, Outer)
    text = str(caught.value)
    assert "\n" not in text
    assert text.isprintable()
    assert text.startswith(str(path))
    assert "must be" in text
    return text.removeprefix(f"{path}: ")


@pytest.mark.parametrize("depth", [4, 30, 300, 400, 450])
def test_what_is_nested_deeper_than_anybody_reads_is_refused_too(depth: int, tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text(f"items = {'[' * depth}{']' * depth}")
    assert "must be" in line(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "items: must be given: a list of 1 to 2, each a table"),
        ("items = []", "items = []: must be a list of 1 to 2, each a table"),
        ("items = 3", "items = 3: must be a list of 1 to 2, each a table"),
        ("items = [{}]", "items[1].rest_s: must be given: a number from 30 to 60 s"),
        ("items = [{rest_s = 20}]", "items[1].rest_s = 20: must be a number from 30 to 60 s"),
        ("items = [{rest_s = nan}]", "items[1].rest_s = nan: must be a number from 30 to 60 s"),
        ("items = [{rest_s = inf}]", "items[1].rest_s = inf: must be a number from 30 to 60 s"),
        ("items = [{rest_s = -inf}]", "items[1].rest_s = -inf: must be a number from 30 to 60 s"),
        ("items = [{rest_s = true}]", "items[1].rest_s = true: must be a number from 30 to 60 s"),
        ('items = [{rest_s = "30 s"}]', 'items[1].rest_s = "30 s": must be a number from 30 to 60 s'),
        (
            "items = [{rest_s = 40}, {rest_ms = 40000}]",
            "items[2].rest_ms = 40000: must be left out: unknown key (did you mean rest_s?)",
        ),
        ('items = [{rest_s = 40, note = ""}]', 'items[1].note = "": must be text of 1 to 9 characters'),
        ("items = [{rest_s = 40}]\ncount = 2.5", "count = 2.5: must be a whole number from 1 to 3"),
        ("items = [{rest_s = 40}]\nfree = {a = 1, b = nan}", "free.b = nan: must be a number from 0 to 9"),
        ('items = [{rest_s = 40}]\nfree = {"a.b" = "x"}', 'free.a.b = "x": must be a number from 0 to 9'),
        ("items = [{rest_s = 40}]\nitems = 3", "must be valid TOML (Cannot overwrite a value (at end of document))"),
        ("items = [", "must be valid TOML (Invalid value (at end of document))"),
        ("count = " + "9" * 5000, "must be valid TOML"),
        ("items = [{rest_s = 40}]\ncount = " + "9" * 40, "count = a number of more than 30 digits: must be a whole"),
    ],
)
def test_one_line_names_key_and_value(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text, encoding="utf-8")
    assert line(path).startswith(expected)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"\x7fELF\0\0\1", "must be a text file (it holds binary data)"),
        (b"count = 1 # \xff\xfe", "must be text in UTF-8 (byte 13 is not)"),
        (b"#" * (LARGEST_FILE_BYTES + 1), "must be smaller than"),
        (b"a = " + b"[" * 5000, "must be "),
    ],
)
def test_what_is_no_toml_text_is_refused(tmp_path: Path, raw: bytes, expected: str) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(raw)
    assert line(path).startswith(expected)


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    assert line(tmp_path / "none.toml") == "must be a file that exists"
    assert line(tmp_path) == "must be a regular file"
    os.mkfifo(tmp_path / "pipe.toml")
    assert line(tmp_path / "pipe.toml") == "must be a regular file"
    with pytest.raises(BadInput, match="must be"):
        load(Path("a\0b"), Outer)


def test_odd_keys_and_values_stay_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_text('"a - at `$.items[0]`\\n" = "x\\u001b[31m"', encoding="utf-8")
    assert "unknown key" in line(path)
    path.write_text('items = [{rest_s = 40, note = "' + "long\\n" * 50 + '"}]', encoding="utf-8")
    assert len(line(path)) < 200


def test_json_refuses_what_toml_refuses(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"count": 1, "count": 2, "items": [{"rest_s": 40}]}', encoding="utf-8")
    assert line(path) == 'must be valid JSON (key "count" is written twice)'
    path.write_text('{"items": [{"rest_s": NaN}]}', encoding="utf-8")
    assert line(path) == "items[1].rest_s = nan: must be a number from 30 to 60 s"
    path.write_text("[1]", encoding="utf-8")
    assert line(path) == "must be a JSON table"
    path.write_text('{"items": [{"rest_s": 40}]}', encoding="utf-8")
    assert load(path, Outer) == Outer((Inner(40.0),))


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    path.write_bytes(b"\xef\xbb\xbfcount = 1\n")
    assert read(path) == {"count": 1}


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_no_float_outside_its_bounds_gets_in(rest_s: float) -> None:
    data = {"items": [{"rest_s": rest_s}]}
    if 30.0 <= rest_s <= 60.0:
        assert convert(data, Outer, "x").items[0].rest_s == rest_s
    else:
        with pytest.raises(BadInput, match=r"^x: items\[1\]\.rest_s = .*: must be a number from 30 to 60 s$"):
            convert(data, Outer, "x")


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["items", "count", "free", "x"]), _ANY, max_size=4))
def test_any_table_is_taken_or_refused_in_one_line(data: dict[str, object]) -> None:
    text = "file.toml: must be"
    try:
        convert(data, Outer, "file.toml")
    except BadInput as error:
        text = str(error)
    assert text.isprintable()
    assert text.startswith("file.toml: ")
    assert "must be" in text
