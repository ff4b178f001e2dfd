"""`sluice qr`: payment codes from the command line."""

import json

from typer.testing import CliRunner, Result

from gateway.cashier.emvco import parse
from kernel.money import Money
from ops.cli.commands import app

GIVEN = ["--name", "BEST TRANSPORT", "--city", "BEIJING", "--mcc", "4111", "--account", "29.00=D15600000000"]
CHINESE = (
    "00020101021229300012D156000000000510A93FO3230Q31280012D15600000001030812345678520441115802CN5914BEST TRANSPORT"
    "6007BEIJING64200002ZH0104最佳运输0202北京540523.7253031565502016233030412340603***0708A60086670902ME91320016A011"
    "2233449988770708123456786304A13A"
)


def qr(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, ["qr", *arguments], input=stdin)


def test_a_code_is_encoded_and_decoded_again() -> None:
    more = ["--account", "29.05=A93FO3230Q", "--account", "15=8600123456789012", "--amount", "23.72", "--dynamic"]
    more += [
        "--tip",
        "percent:3.50",
        "--additional",
        "reference=A7",
        "--additional",
        "03=1",
        "--local",
        "ZH:最佳运输:北京",
    ]
    made = qr("encode", *GIVEN, *more, "--json")
    assert made.exit_code == 0, made.output
    told = json.loads(made.stdout)
    code = parse(told["text"])
    assert (code.amount, code.dynamic) == (Money(2372, "CNY"), True)
    assert code.accounts == {"29": {"00": "D15600000000", "05": "A93FO3230Q"}, "15": "8600123456789012"}
    assert code.additional == {"05": "A7", "03": "1"}
    read = qr("decode", told["text"], "--json")
    assert read.exit_code == 0
    assert json.loads(read.stdout) == told["code"]
    assert told["code"]["tip"] == {"kind": "percent", "fixed": None, "percent_bp": 350}


def test_without_json_the_text_alone_is_printed_and_a_code_is_told_in_words() -> None:
    text = qr("encode", *GIVEN, "--static", "--tip", "fixed:1.50").stdout
    assert parse(text.strip()).dynamic is False
    read = qr("decode", "-", stdin=CHINESE + "\n")
    assert read.exit_code == 0
    assert "最佳运输" in read.stdout
    assert '"major": "23.72"' in read.stdout


def test_what_is_no_code_is_told_with_the_reason() -> None:
    read = qr("decode", CHINESE[:-1] + "B")
    assert (read.exit_code, "[wrong_checksum]" in read.output) == (1, True)
    read = qr("decode", "hello", "--json")
    assert (read.exit_code, json.loads(read.stdout)["error"]) == (1, "not_a_code")


def test_what_makes_no_code_is_refused_with_the_reason() -> None:
    for wrong in (
        ["--amount", "1.234"],
        ["--amount", "0"],
        ["--currency", "XYZ"],
        ["--tip", "half"],
        ["--tip", "fixed:x"],
        ["--account", "29=twice"],
        ["--account", "15"],
        ["--additional", "reference"],
        ["--local", "ZH"],
        ["--name", "茶叶"],
    ):
        made = qr("encode", *GIVEN, *wrong)
        assert made.exit_code in (1, 2), wrong
        assert "sluice: " in made.output, wrong
        assert "Traceback" not in made.output
