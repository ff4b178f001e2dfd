"""The text of payment codes as EMVCo writes them: qr encode, decode."""

import json
import sys
from typing import Annotated, Any

import typer

from ops.cli.shared import Currency, Json, fail, show

app = typer.Typer(no_args_is_help=True, help="Merchants' payment codes 商户收款码 as EMVCo writes them.")


@app.command("encode")
def qr_encode(
    name: Annotated[str, typer.Option(help="The merchant's, at most 25 characters of ASCII.")],
    city: Annotated[str, typer.Option(help="At most 15 characters of ASCII.")],
    mcc: Annotated[str, typer.Option(help="Merchant category code 商户类别码, four digits.")],
    account: Annotated[
        list[str],
        typer.Option(help="Whom to pay: ID=TEXT for a card scheme (02 to 25), ID.SUB=TEXT for a template (26 to 51)."),
    ],
    currency: Currency = "CNY",
    amount: Annotated[str | None, typer.Option(help="In major units, e.g. 12.30; default: the payer types it.")] = None,
    country: Annotated[str, typer.Option(help="ISO 3166, two letters.")] = "CN",
    postcode: Annotated[str | None, typer.Option()] = None,
    dynamic: Annotated[
        bool | None, typer.Option("--dynamic/--static", help="Made for one payment, or for many.")
    ] = None,
    tip: Annotated[str | None, typer.Option(help="asked, fixed:1.50 or percent:3.50.")] = None,
    additional: Annotated[
        list[str], typer.Option(help="NAME=TEXT or ID=TEXT, e.g. reference=A7, store=1; *** asks the payer.")
    ] = [],  # noqa: B006
    local: Annotated[str | None, typer.Option(help="LANGUAGE:NAME[:CITY], e.g. ZH:最佳运输:北京.")] = None,
    as_json: Json = False,
) -> None:
    """Print the text of a payment code, for a QR code."""
    from gateway.cashier import emvco
    from kernel.money import from_major

    names = {words: number for number, words in emvco.ADDITIONAL_NAMES.items()}
    try:
        code = emvco.PaymentCode(
            name=name,
            city=city,
            currency=currency,
            mcc=mcc,
            accounts=_accounts(account),
            country=country,
            dynamic=dynamic,
            amount=None if amount is None else from_major(amount, currency),
            tip=None if tip is None else _tip(tip, currency),
            postcode=postcode,
            additional={names.get(key, key): value for key, value in map(_pair, additional)},
            local=None if local is None else emvco.Local(*local.split(":", 2)),
        )
        text = emvco.build(code)
    except emvco.BadCode as bad:
        fail(f"{bad.message} [{bad.code}]")
    except (ValueError, KeyError, TypeError) as error:
        fail(f"that makes no payment code: {error}", 2)
    if as_json:
        show({"text": text, "code": emvco.described(code)})
    else:
        typer.echo(text)


@app.command("decode")
def qr_decode(
    text: Annotated[str, typer.Argument(help="What the QR code holds; - reads it from standard input.")],
    as_json: Json = False,
) -> None:
    """Parse a payment code strictly and print its content; exit code 1 with the reason if it is not one."""
    from gateway.cashier import emvco

    try:
        said = emvco.described(emvco.parse(sys.stdin.read().removesuffix("\n") if text == "-" else text))
    except emvco.BadCode as bad:
        if as_json:
            show({"error": bad.code, "message": bad.message})
            raise typer.Exit(1) from None
        fail(f"{bad.message} [{bad.code}]")
    if as_json:
        show(said)
        return
    for field, value in said.items():
        if value not in (None, {}):
            typer.echo(f"{field:12} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")


def _pair(written: str) -> tuple[str, str]:
    name, equals, value = written.partition("=")
    if not equals:
        raise ValueError(f"{written!r} is not NAME=TEXT")
    return name, value


def _accounts(written: list[str]) -> dict[str, Any]:
    """Return whom to pay, from ID=TEXT and ID.SUB=TEXT."""
    accounts: dict[str, Any] = {}
    for name, value in map(_pair, written):
        number, dot, part = name.partition(".")
        told = accounts.setdefault(number, {}) if dot else accounts
        if not isinstance(told, dict) or (part or number) in told:
            raise ValueError(f"account {name} is given twice")
        told[part or number] = value
    return accounts


def _tip(written: str, currency: str) -> Any:
    from gateway.cashier.emvco import Tip, TipKind
    from kernel.money import from_major

    kind, _, value = written.partition(":")
    match TipKind(kind):
        case TipKind.FIXED:
            return Tip(TipKind.FIXED, fixed=from_major(value, currency))
        case TipKind.PERCENT:
            return Tip(TipKind.PERCENT, percent_bp=from_major(value, "CNY").minor)  # two decimals, as fen of a yuan
        case TipKind.ASKED:
            return Tip(TipKind.ASKED)
