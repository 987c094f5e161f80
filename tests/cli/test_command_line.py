"""The command line: what is refused, in one line with option, value and limit, and the five exit codes."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from controller.__main__ import main
from controller.cli.options import Refused, parse_number, parse_whole_number

PRESCRIBE = {
    "--code": "C1", "--limb": "leg", "--side": "left", "--posture": "supine", "--cuff-width-cm": "13", "--lop": "187",
    "--lop-again": "187", "--lop-method": "doppler", "--lop-posture": "supine", "--lop-cuff-width-cm": "13",
    "--lop-at": "2026-11-22T09:30", "--by": "AB",
}  # fmt: skip


def prescribe(**changed: str | None) -> list[str]:
    said = PRESCRIBE | {"--" + name.replace("_", "-"): value for name, value in changed.items()}
    return ["prescribe", "bfr-30-15-15-15", *(word for pair in said.items() if pair[1] is not None for word in pair)]  # type: ignore[misc]


# --- usage ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "no command: `manchet --help` lists them"),
        (["inflate"], "No such command 'inflate'."),
        (["status", "--loud"], "No such option: --loud"),
        (["start", "now"], "unexpected extra argument"),
        (["run"], "Missing option '--config'"),
        (["screen", "--by", "AB"], "Missing option '--answers'"),
        (["--log-level", "loud", "status"], "--log-level = loud: must be one of debug, info, warning, error"),
        (prescribe(limb="wrist"), "--limb = wrist: must be one of leg, arm"),
        (prescribe(side=None), "Missing option '--side'"),
        (["protocols", "nope"], 'PROTOCOL = "nope": must be one of those found'),
        (["protocols", "--protocols", "/nope"], "--protocols = "),
        (["check-config", "/nope.toml"], "/nope.toml: must be a file that exists"),
        (["schema", "--format", "xml"], "--format = xml: must be one of json, asyncapi"),
        (["run", "--config", "/nope.toml"], "/nope.toml: must be a file that exists"),
        (["screen", "--answers", "/nope.toml", "--by", "AB"], "--answers = /nope.toml: must be a file"),
        (["demo", "--protocol", "nope"], 'manchet: --protocol = "nope": must be one of those found'),
        (["demo", "--speed", "0"], "--speed = 0: must be a number between 0.1 and 200"),
        (["demo", "--mqtt", "http://broker"], "--mqtt = http://broker: must be mqtt://HOST"),
        (["demo", "--mqtt", "mqtt://broker:99999"], "must be mqtt://HOST or mqtt://HOST:PORT"),
    ],
)
def test_bad_usage_is_one_line_and_exit_2(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("manchet: ")
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("option", ["cuff_width_cm", "lop", "lop_again", "lop_cuff_width_cm", "percent_lop", "cuff"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "-1", "0", "401", "12mmHg", "", "0x10", "1_3", "१"])
def test_no_number_option_takes_nonsense(
    option: str, value: str, bench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "--" + option.replace("_", "-")
    assert main(prescribe(**{option: value})) == 2
    assert capsys.readouterr().err.startswith(f"manchet: {name} = {value}: must be a ")
    assert bench.told == []


@pytest.mark.parametrize("lop", ["30", "79.9", "330.1", "400"])
def test_an_lop_that_no_limb_has_is_refused_with_its_limits(lop: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(prescribe(lop=lop)) == 2
    assert f"--lop = {lop}: must be a number between 80 and 330 mmHg" in capsys.readouterr().err


def test_limits_are_inclusive() -> None:
    assert parse_number("--x", "80", 80, 330) == 80.0
    assert parse_number("--x", "330", 80, 330) == 330.0
    assert parse_whole_number("--n", "-3", -3, 3) == -3
    for bad in ("1.0", "1e1", "--3", "٣", "", "99999999999999999999999"):
        with pytest.raises(Refused, match="whole number between -3 and 3"):
            parse_whole_number("--n", bad, -3, 3)


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_an_answer_that_is_no_number_is_named(
    value: str, runtime: Path, bench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = runtime / "answers.toml"
    path.write_text(f'code = "C1"\nsystolic_mmhg = {value}\n')
    assert main(["screen", "--answers", str(path), "--by", "AB"]) == 2
    assert capsys.readouterr().err == f"manchet: {path}: systolic_mmhg = {value}: must be a whole number\n"
    assert bench.told == []


@pytest.mark.parametrize("words", [["stop"], ["stop", "--bench", "b9"], ["stop", "--json"]])
def test_stop_without_a_service_says_what_a_person_can_do(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 3
    assert "if a cuff is under pressure, pull its coupling or press the stop button" in "".join(capsys.readouterr())


def test_watch_shows_the_table_of_the_session_it_saw_end(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(_path: Path, _silence_s: float) -> Any:
        yield {"type": "session", "outcome": "completed", "protocol": "short", "duration_s": 61.0}
        raise KeyboardInterrupt

    monkeypatch.setattr("controller.bedside.client.watch", shown)
    assert main(["watch"]) == 0
    assert "short: completed in 1:01" in capsys.readouterr().out
    assert bench.told == []


def test_a_terminal_without_utf_8_gets_the_nearest_ascii(runtime: Path) -> None:
    environ = {"LC_ALL": "C", "PYTHONUTF8": "0", "RUNTIME_DIRECTORY": str(runtime), "PATH": "/usr/bin:/bin"}
    said = ascii("±5 – ▲ é")
    code = (
        f"import sys; from controller.__main__ import main; code = main(['--version']); print({said}); sys.exit(code)"
    )
    ran = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=True)
    assert ran.stdout.splitlines()[-1] == b"+-5 - ^ ?"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.toml", b"\xff\x00\x01"),
        ("a.toml", b"x = "),
        ("a.json", b"[1]"),
        ("a.json", b'{"x": NaN}'),
        ("a.toml", b"x = nan"),
    ],
)
def test_answers_that_are_no_table_are_refused_before_anything_is_said(
    name: str, content: bytes, runtime: Path, bench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = runtime / name
    path.write_bytes(content)
    assert main(["screen", "--answers", str(path), "--by", "AB"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert bench.told == []


# --- verbs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [["status"], ["stop"], ["watch"], ["status", "--bench", "b9"], ["next", "--socket", "/no.sock"]]
)
def test_no_service_is_exit_3(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 3
    assert capsys.readouterr().err.startswith("manchet: ")


def test_no_answer_is_exit_4(bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    bench.answers["status"] = None
    monkeypatch.setattr("controller.bedside.client.ask.__defaults__", (None, 0.05))
    assert main(["status", "--json"]) == 4
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is False
    assert "did not answer `status`" in said["text"]


def test_two_benches_must_be_told_apart(bench: Any, runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(runtime / "b2.sock"))
        other.listen(1)
        assert main(["start"]) == 2
        assert "b1, b2" in capsys.readouterr().err
        assert main(["start", "--bench", "b1"]) == 0
    assert [request["verb"] for request in bench.told] == ["start"]


@pytest.mark.parametrize("words", [["now"], ["--nope"], ["now", "--json", "-x"]])
def test_a_word_too_many_keeps_no_stop_from_being_said(
    words: list[str], bench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stop", *words]) == 0
    assert [request["verb"] for request in bench.told] == ["stop"]
    ignored = " ".join(word for word in words if word != "--json")
    assert capsys.readouterr().err == f"manchet: ignored: {ignored}\n"


@pytest.mark.parametrize("words", [["--bench"], ["--socket"], ["--json=1"]])
def test_an_option_that_cannot_be_understood_keeps_no_stop_from_being_said(
    words: list[str], bench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stop", *words]) == 0
    assert [request["verb"] for request in bench.told] == ["stop"]
    assert capsys.readouterr().err.startswith("manchet: ignored: Option ")


def test_a_stop_that_names_none_of_several_benches_is_said_to_each(
    bench: Any, runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(runtime / "a2.sock"))
        other.listen(8)
        assert main(["stop"]) == 4, "one of them does not answer"
        told = capsys.readouterr().out.splitlines()
        assert [line.partition(":")[0] for line in told] == ["a2", "b1"]
        assert "`manchet safe` vents every bench it finds" in told[0]
        assert main(["stop", "--json"]) == 4
        assert [json.loads(line)["ok"] for line in capsys.readouterr().out.splitlines()] == [False, True]
    assert [request["verb"] for request in bench.told] == ["stop", "stop"]


def test_a_demo_beside_a_bench_is_not_meant(bench: Any, runtime: Path) -> None:
    with socket.socket(socket.AF_UNIX) as demo:
        demo.bind(str(runtime / "demo-1.sock"))
        demo.listen(1)
        assert main(["start"]) == 0
    assert [request["verb"] for request in bench.told] == ["start"]


def test_a_refusal_is_exit_1_with_value_and_limit(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    refusal = {"ok": False, "phase": "resting", "text": "too early", "value": 4.0, "limit": 10.0, "unit": "s"}
    bench.answers["next"] = refusal
    assert main(["next"]) == 1
    assert capsys.readouterr().err == "manchet: too early\n"
    assert main(["next", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {**refusal, "verb": "next"}
    bench.answers["next"] = refusal | {"bad_input": True}
    assert main(["next"]) == 2


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["start"],
        ["next"],
        ["present"],
        ["stop"],
        ["pause"],
        ["lower"],
        ["acknowledge"],
        ["silence"],
        ["reset"],
    ],
)
def test_every_verb_reaches_the_bench_and_prints_its_answer(
    words: list[str], bench: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    assert capsys.readouterr().out == "heard\n"
    assert main([*words, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert list(said) == ["ok", "verb", "phase", "text", "value", "limit", "unit"]
    assert [request["verb"] for request in bench.told] == words * 2


def test_what_verbs_say(bench: Any, runtime: Path) -> None:
    answers = runtime / "answers.toml"
    answers.write_text('code = "C1"\npregnant = false\n')
    assert main(["screen", "--answers", str(answers), "--by", "AB"]) == 0
    assert main(["acknowledge", "leak"]) == 0
    assert main(["reset", "--cuff-off"]) == 0
    assert main(prescribe(percent_lop="55.5", lop_side="right")) == 0
    screen, acknowledge, reset, said = bench.told
    assert (screen["answers"], screen["by"]) == ({"code": "C1", "pregnant": False}, "AB")
    assert acknowledge["condition"] == "leak"
    assert reset["cuff_off"] is True
    del said["id"]
    assert said == {
        "verb": "prescribe", "protocol": "bfr-30-15-15-15", "code": "C1", "limb": "leg", "side": "left",
        "posture": "supine", "cuff_width_cm": 13.0, "lop_mmhg": 187.0, "lop_again_mmhg": 187.0,
        "lop_method": "doppler", "lop_posture": "supine", "lop_cuff_width_cm": 13.0, "lop_at": "2026-11-22T09:30",
        "lop_limb": "leg", "lop_side": "right", "by": "AB", "percent_lop": 55.5, "cuff": 1,
    }  # fmt: skip


# --- the others ----------------------------------------------------------------------------------------------------


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    commands = """
        run demo simulate protocols check-config schema watch safe status screen prescribe start next present stop
        pause lower acknowledge silence reset
    """
    for command in commands.split():
        assert f"\n  {command} " in out, command
    assert "demo-bench" not in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("manchet 0.")
    assert main(["safe", "--help"]) == 0
    assert "step by step" in capsys.readouterr().out


def test_protocols_are_listed_shown_and_a_broken_one_hides_none(
    runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (runtime / "broken.toml").write_text("name = 1")
    assert main(["protocols", "--protocols", str(runtime)]) == 0
    out = capsys.readouterr().out
    assert "broken               cannot be used: " in out
    assert "bfr-30-15-15-15      Resistance exercise" in out
    assert main(["protocols", "passive-5x5"]) == 0
    assert "5 bouts of 300 s at target" in capsys.readouterr().out


def test_check_config_takes_benches_and_protocols(capsys: pytest.CaptureFixture[str]) -> None:
    config = Path(__file__).resolve().parents[2] / "config"
    for path in (*config.glob("bench-*.toml"), *config.glob("protocols/*.toml")):
        assert main(["check-config", str(path)]) == 0
        assert capsys.readouterr().out.startswith(f"{path}: can be used")


def test_check_config_says_that_the_brokers_password_is_not_there(
    runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Path(__file__).resolve().parents[2] / "config" / "bench-simulated.toml"
    bench = runtime / "bench.toml"
    text = re.sub(r"(?ms)^\[mqtt\].*?(?=^\[)", "", config.read_text())
    bench.write_text(f'{text}\n[mqtt]\nenabled = true\nhost = "b"\nusername = "b"\npassword_file = "secret"\n')
    assert main(["check-config", str(bench)]) == 0
    warning = f"warning: {runtime / 'secret'}: must be a file that exists"
    assert capsys.readouterr().out.splitlines()[1:] == [warning]


def test_check_config_takes_a_boards_wiring_and_says_what_is_wrong_with_one(
    runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Path(__file__).resolve().parents[2] / "config"
    for path in config.glob("board-*.json"):
        assert main(["check-config", str(path)]) == 0
        assert "a board's wiring" in capsys.readouterr().out
    wrong = runtime / "board.json"
    wrong.write_text((config / "board-pico.json").read_text().replace('"heartbeat": 14', '"heartbeat": 15'))
    assert main(["check-config", str(wrong)]) == 2
    assert capsys.readouterr().err == f"manchet: {wrong}: heartbeat: GPIO 15 is already estop\n"


def test_check_config_knows_screening_answers_and_which_are_missing(
    runtime: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template = (Path(__file__).resolve().parents[2] / "config" / "screening-template.toml").read_text()
    answers = runtime / "answers.toml"
    answers.write_text(template)
    assert main(["check-config", str(answers)]) == 2
    assert "must be true or false" in capsys.readouterr().err
    answers.write_text(
        re.sub(r'(?m)^(?!code)(\w+) = "\?"', r"\1 = false", template)
        .replace("systolic_mmhg = false", "systolic_mmhg = 120")
        .replace("diastolic_mmhg = false", "diastolic_mmhg = 80")
    )
    assert main(["check-config", str(answers)]) == 0
    assert "answered in full" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["json", "asyncapi"])
def test_schema_is_json(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--format", form]) == 0
    assert isinstance(json.loads(capsys.readouterr().out), dict)


def test_a_bug_is_one_line_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("controller.cli.app.version_line", lambda: 1 / 0)
    assert main(["--version"]) == 1
    assert (
        capsys.readouterr().err
        == "manchet: failed: ZeroDivisionError: division by zero (--log-level debug says where)\n"
    )


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "without"),
    [
        (["safe"], {"asyncio", "msgspec", "typer", "rich", "logging", "controller.core", "controller.app"}),
        (["lines-low"], {"asyncio", "msgspec", "typer", "rich", "logging", "controller.core", "firmware_bridge"}),
        (["guard", "--config", "/nope.toml"], {"asyncio", "sqlite3", "aiomqtt", "rich", "typer", "controller.control"}),
        (["run", "--config", "/nope.toml"], {"rich", "typer", "click", "pydantic", "matplotlib", "amqtt"}),
        (["stop"], {"typer", "asyncio", "msgspec", "controller.app", "firmware_bridge.firmware.wire"}),
        (["status", "--json"], {"rich", "asyncio", "msgspec", "controller.app", "firmware_bridge.firmware.wire"}),
    ],
)
def test_what_a_command_does_not_carry(words: list[str], without: set[str], runtime: Path) -> None:
    code = (
        "import sys; from controller.__main__ import main; code = main(sys.argv[1:]); "
        "print(); print(code, *sorted(sys.modules))"
    )
    environ = {"RUNTIME_DIRECTORY": str(runtime), "TMPDIR": str(runtime), "PATH": "/usr/bin:/bin"}
    ran = subprocess.run([sys.executable, "-c", code, *words], env=environ, capture_output=True, text=True, check=True)
    code_, *modules = ran.stdout.splitlines()[-1].split()
    assert int(code_) == {"run": 2, "guard": 2, "lines-low": 0}.get(words[0], 3)
    assert without & set(modules) == set()


@pytest.mark.process
def test_ctrl_c_ends_a_simulation_without_a_word(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    command = [sys.executable, "-m", "controller", "simulate", "bfr-30-15-15-15", "--trace", str(trace)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as ran:
        until_s = time.monotonic() + 30.0
        while not (trace.exists() and trace.stat().st_size):
            assert time.monotonic() < until_s, "no trace within 30 s"
            assert ran.poll() is None
        ran.send_signal(signal.SIGINT)
        out, err = ran.communicate(timeout=30)
    assert ran.returncode != 0
    assert (out, err) == ("", "")
