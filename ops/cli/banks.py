"""Banks, settlement and the daily proof: bank link, platform; settle, reconcile, discrepancies."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from ops.cli.shared import Book, Json, a_hub, day, finish, settings, show

app = typer.Typer(no_args_is_help=True, help="Banks 银行: a merchant's custody, the platform's own account.")


@app.command("link")
def bank_link(
    book: Book,
    bank: Annotated[str, typer.Argument(help="Your name for the bank, 2 to 10 of a-z0-9.")],
    enrolment: Annotated[
        Path, typer.Option(help="JSON file from the bank's enrolment: base_url, token_file, keys, bic.")
    ],
    name: Annotated[str, typer.Option(help="Name of the pool account.")] = "pool",
    currency: Annotated[str, typer.Option(help="ISO 4217")] = "CNY",
) -> None:
    """Open a merchant's pool account at a bank, into which its channels pay; repeating it finds the same account."""
    from ops.merchants import link_bank

    found = settings()

    async def work() -> int:
        async with a_hub(found) as hub:
            link = await link_bank(hub, book, bank, json.loads(enrolment.read_text()), name=name, currency=currency)
        show({"book": book, "bank": bank, "pool_account": link.pool_account})
        return 0

    finish(work())


@app.command("platform")
def bank_platform(
    book: Book,
    bank: Annotated[str, typer.Argument(help="A bank linked before.")],
    name: Annotated[str, typer.Option(help="The platform's name at the bank.")] = "platform",
    currency: Annotated[str, typer.Option(help="ISO 4217")] = "CNY",
) -> None:
    """Register the platform as the payee of its commission in a book, with an account of its own at the bank."""
    import splitting
    from ops.merchants import add_platform_payee

    found = settings()

    async def work() -> int:
        async with a_hub(found) as hub:
            payee = await add_platform_payee(hub, book, name=name, currency=currency, bank=bank)
        show(splitting.payee_payload(payee))
        return 0

    finish(work())


def settle(
    book: Book,
    bank: Annotated[str, typer.Option(help="Name of the bank link.")],
    business_date: Annotated[str, typer.Option(help="YYYY-MM-DD")],
    currency: Annotated[str, typer.Option(help="ISO 4217")] = "CNY",
) -> None:
    """Make the settlement batch 结算批次 of a business date and send it to the bank; repeating it goes on."""
    import splitting

    found = settings()
    on = day(business_date)

    async def work() -> int:
        async with a_hub(found) as hub:
            done = await hub.banks.settle(book, bank, on, currency, execution_date=on + timedelta(days=1))
        show(splitting.settlement_payload(done))
        return 0 if done.status != "created" else 1

    finish(work())


def reconcile(
    book: Book,
    business_date: Annotated[str, typer.Option(help="YYYY-MM-DD")],
    account: Annotated[str, typer.Option(help="Channel account.")] = "main",
    bank: Annotated[str | None, typer.Option(help="Bank link; also compares the bank's day after.")] = None,
    currency: Annotated[str, typer.Option(help="ISO 4217")] = "CNY",
) -> None:
    """Compare a business date 账务日期 with the channel's bill and the bank's files; exit code 1 if they differ."""
    from reconciliation import report
    from reconciliation.daily import Deposit

    found = settings()
    on = day(business_date)

    async def work() -> int:
        async with a_hub(found) as hub:
            proof = hub.daily_proof()
            deposit = None
            if bank is not None:
                await proof.fetch_bank_files(book, bank)
                starts = {a: s for s, a in (await hub.deposits(book)).items()}
                if account in starts:  # a deposit comes the next working day; holidays may put a week between
                    deposit = Deposit(bank, f"{starts[account]}{on:%Y%m%d}", on + timedelta(days=10))
            runs = [await proof.channel(book, account, on, currency=currency, deposit=deposit)]
            if bank is not None:
                ids = {deposit.end_to_end_id} if deposit else set()
                runs.append(await proof.bank(book, bank, on + timedelta(days=1), currency=currency, deposit_ids=ids))
        shown = [report.of_run(run) for run in runs]
        show(shown)
        return 0 if all(run["agrees"] for run in shown) else 1

    finish(work())


def discrepancies(book: Book, as_json: Json = False) -> None:
    """List what hub, channel and bank disagree about 差错, oldest first, with its age; exit code 1 if there is any."""
    import reconciliation
    from kernel.db import acquire
    from reconciliation import report

    found = settings()

    async def work() -> int:
        async with a_hub(found) as hub, acquire(hub.pool) as connection:
            cases = await reconciliation.discrepancies(connection, book, now=hub.env.now(), limit=1000)
        if as_json:
            show(report.of_cases(cases))
        else:
            for case in cases:
                typer.echo(
                    f"{case.business_date}  {case.age_days:>3} d  {case.state:<10} {case.kind:<24} "
                    f"{case.key.reference:<34} {case.ours_minor!s:>10} {case.theirs_minor!s:>10} {case.currency}"
                )
            typer.echo(f"{len(cases)} open")
        return 1 if cases else 0

    finish(work())
