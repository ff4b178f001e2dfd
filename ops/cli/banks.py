"""Banks, settlement and the daily proof: bank link, end, platform; settle, reconcile, discrepancies."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from ops.cli import bank_files
from ops.cli.shared import (
    Book,
    Currency,
    Json,
    acting,
    acting_person,
    day,
    fail,
    finish,
    json_object,
    looking,
    on_screen,
    settings,
    show,
)

app = typer.Typer(no_args_is_help=True, help="Banks 银行: a merchant's custody, the platform's own account.")
app.add_typer(bank_files.app, name="files")
_NOT_SENT = ("created", "awaiting_release", "refused", "cancelled")
CREDENTIALS = typer.Option(
    "--credentials",
    "--enrolment",
    help="JSON file, the bank's answer to the enrolment: account_holder (户名, in whose name the pool account is), "
    "profile (iso20022 or cmb, each with settings of its own: docs/bank-clerk.md), "
    "base_url, bic, token, key_id, private_key, bank_key_id, bank_public_key; "
    "keys as text or as names of files (token_file, …), read now.",
)


@app.command("link")
def bank_link(
    book: Book,
    bank: Annotated[str, typer.Argument(help="Your name for the bank, 2 to 10 of a-z0-9.")],
    credentials: Annotated[Path, CREDENTIALS],
    name: Annotated[str, typer.Option(help="Name of the pool account.")] = "pool",
    currency: Currency = "CNY",
    as_json: Json = False,
) -> None:
    """Open a merchant's pool account at a bank, into which its channels pay; repeating it returns the same account.

    The keys are read now and sealed in the database; no file is needed afterwards. Takes two people. Prints one JSON
    object, with --json or without.
    """
    import splitting
    from ops.banks import link_as

    found = settings()

    async def work() -> int:
        given = json_object(credentials)
        async with acting_person(found, "channels", "bank link", bank, book=book) as begun:
            link = await link_as(begun, book, bank, given, name=name, currency=currency, folder=credentials.parent)
            show(splitting.bank_link_payload(link, begun.hub.banks.problem(link)))
        return 0

    finish(work())


@app.command("end")
def bank_end(book: Book, bank: Annotated[str, typer.Argument(help="Your name for the bank.")]) -> None:
    """Stop fetching a merchant's files from a bank, except while a batch is under way.

    `sluice bank link` reverses this. Deposits that arrive in between are not seen until then.
    """
    found = settings()

    async def work() -> int:
        async with acting(found, "channels", "bank end", bank, book=book) as hub:
            await hub.merchants.require(book)
            await hub.banks.end(book, bank)
        typer.echo(f"book {book} asks {bank} for nothing any more, except while a batch is under way")
        return 0

    finish(work())


@app.command("list")
def bank_list(book: Book, as_json: Json = False) -> None:
    """List a merchant's banks: pool accounts, names and fingerprints of the secrets, never a secret."""
    import splitting
    from kernel.db import acquire

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub, acquire(hub.pool) as connection:
            links = [one for one in await splitting.store.bank_links(connection) if one.book == book]
            shown = [splitting.bank_link_payload(link, hub.banks.problem(link)) for link in links]
        if as_json:
            show(shown)
        else:
            for one in shown:
                secrets = " ".join(f"{name}={mark}" for name, mark in one["secrets"].items())
                typer.echo(f"{one['bank']:<10} {one['pool_account']}  {secrets or 'key files, not sealed yet'}")
                holder = one["settings"].get("account_holder")
                said = 'not named: batches say "Sluice pool"; give account_holder to `sluice bank rotate`'
                typer.echo(f"           account holder 户名: {on_screen(holder or said)}")
                typer.echo(f"           its files were last read {one['files_read_at'] or 'never'}")
                if one["ended_at"] is not None:
                    typer.echo(f"           asked for nothing any more since {one['ended_at']}")
                if not one["usable"]:
                    typer.echo(f"           cannot be used 不可用: {one['problem']}")
        return 0

    finish(work())


@app.command("rotate")
def bank_rotate(
    book: Book,
    bank: Annotated[str, typer.Argument(help="A bank linked before, see `sluice bank list`.")],
    credentials: Annotated[
        Path, typer.Option(help="JSON file with the new values; values not named stay as they are.")
    ],
    as_json: Json = False,
) -> None:
    """Put new credentials for a bank into use, after the bank has accepted them; takes two people.

    Prints one JSON object, with --json or without.
    """
    import splitting
    from ops.banks import rotate_as

    found = settings()

    async def work() -> int:
        given = json_object(credentials)
        async with acting_person(found, "channels", "bank rotate", bank, book=book) as begun:
            link = await rotate_as(begun, book, bank, given, folder=credentials.parent)
            show(splitting.bank_link_payload(link, begun.hub.banks.problem(link)))
        return 0

    finish(work())


@app.command("account")
def bank_account(
    book: Book,
    bank: Annotated[str, typer.Argument(help="A bank linked before.")],
    role: Annotated[str, typer.Option(help="What the account is for: suspense, fee, interest, guarantee or reserve.")],
    number: Annotated[str, typer.Option(help="The account's number at the bank.")],
    currency: Currency = "CNY",
    as_json: Json = False,
) -> None:
    """Say which account at a bank is for one role 功能账户, as for interest or the bank's fees; takes two people."""
    from ops.banks import name_account_as
    from splitting.banks.roles import Role

    found = settings()
    if role not in list(Role):
        fail(f"{on_screen(role)} is no role of an account; there are {', '.join(Role)}", 2)

    async def work() -> int:
        async with acting_person(found, "channels", "bank account", bank, book=book) as begun:
            row = await name_account_as(begun, book, bank, currency=currency, role=role, account=number)
        if as_json:
            show({"bank": row.bank, "role": row.role, "account": row.account, "currency": row.currency})
        else:
            typer.echo(f"{row.bank}: {row.account} is the account for {row.role}, in {row.currency}")
        return 0

    finish(work())


@app.command("accounts")
def bank_accounts(
    book: Book, bank: Annotated[str, typer.Argument(help="A bank linked before.")], as_json: Json = False
) -> None:
    """List a bank's accounts that are for one role each 功能账户: what the book has there, and the bank's statement."""
    from kernel.money import Money
    from ops.banks import accounts_of

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub:
            rows = await accounts_of(hub, book, bank)
        if as_json:
            show({"accounts": rows})
            return 0
        for one in rows:
            currency = one["currency"]
            stated = "not stated yet 无对账单"
            if one["at_bank_minor"] is not None:
                stated = f"at the bank {Money(one['at_bank_minor'], currency)} at the end of {one['stated_on']}"
            in_book = Money(one["in_book_minor"], currency)
            typer.echo(f"{one['role']:<10} {one['account']}  in the book 账面 {in_book}; {stated}")
        if not rows:
            typer.echo("no account is for one role; all custody is in the pool account and sub-accounts")
        return 0

    finish(work())


@app.command("platform")
def bank_platform(
    book: Book,
    bank: Annotated[str, typer.Argument(help="A bank linked before.")],
    name: Annotated[str, typer.Option(help="The platform's name at the bank.")] = "platform",
    currency: Currency = "CNY",
    account: Annotated[
        str | None, typer.Option(help="The platform's own account there, at a bank that opens none.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Register the platform as a payee in a book, with an account of its own at the bank, for its commission.

    Prints one JSON object, with --json or without.
    """
    import splitting

    found = settings()

    async def work() -> int:
        async with acting(found, "channels", "bank platform", bank, book=book) as hub:
            payee = await hub.payees.add_platform(book, name=name, currency=currency, bank=bank, account=account)
        show(splitting.payee_payload(payee))
        return 0

    finish(work())


def settle(
    book: Book,
    bank: Annotated[str, typer.Option(help="Name of the bank link.")],
    business_date: Annotated[str, typer.Option(help="YYYY-MM-DD")],
    currency: Currency = "CNY",
    as_json: Json = False,
) -> None:
    """Make the settlement batch 结算批次 of a business date and send it to the bank; repeating it continues."""
    from kernel import clock
    from ops.cli.settlements import batch_json, batch_line
    from ops.payees import kept_back

    found = settings()
    on = day(business_date)

    async def work() -> int:
        async with acting(found, "closing", "settle", f"{bank} {on} {currency}", book=book) as hub:
            await hub.merchants.require(book)
            today = clock.business_date(hub.env.now())
            done = await hub.banks.settle(book, bank, on, currency, execution_date=max(on + timedelta(days=1), today))
            kept = await kept_back(hub, book, bank, currency)
            lacks = 0 if done is None or done.status != "created" else await hub.banks.lacking(done)
        if as_json:
            show({"object": "settlement", "id": None} if done is None else batch_json(done, lacks))
        elif done is None:
            typer.echo(f"nothing is to be paid for {on} at {bank} 无应付款; no batch was made")
        else:
            typer.echo(batch_line(done, lacks))
        for line in () if as_json else kept:
            typer.echo(on_screen(line))
        return 1 if done is not None and done.status in _NOT_SENT else 0

    finish(work())


def reconcile(
    book: Book,
    business_date: Annotated[str, typer.Option(help="YYYY-MM-DD")],
    account: Annotated[str, typer.Option(help="Channel account.")] = "main",
    bank: Annotated[str | None, typer.Option(help="Bank link; also compares the bank's files of the next day.")] = None,
    currency: Currency = "CNY",
    as_json: Json = False,
) -> None:
    """Compare a business date 账务日期 with the channel's bill and the bank's files; exit code 1 if they differ."""
    from reconciliation import report, text
    from reconciliation.daily import Deposit

    found = settings()
    on = day(business_date)

    async def work() -> int:
        async with acting(found, "closing", "reconcile", str(on), book=book) as hub:
            await hub.merchants.require(book)
            proof = hub.daily_proof()
            deposit = None
            if bank is not None:
                await proof.fetch_bank_files(book, bank)
                for start, accounts in (await hub.accounts.deposits(book)).items():
                    if accounts[0] == account:  # it comes the next working day; holidays may put a week between
                        deposit = Deposit([bank], f"{start}{on:%Y%m%d}", on + timedelta(days=10), accounts)
            runs = [await proof.channel(book, account, on, currency=currency, deposit=deposit)]
            if bank is not None:
                ids = {deposit.end_to_end_id} if deposit else set()
                runs.append(await proof.bank(book, bank, on + timedelta(days=1), currency=currency, deposit_ids=ids))
        shown = [report.of_run(run) for run in runs]
        if as_json:
            show(shown)
        else:
            typer.echo("\n".join(line for run in shown for line in text.of_run(run)))
        return 0 if all(run["agrees"] for run in shown) else 1

    finish(work())


def discrepancies(
    book: Book,
    limit: Annotated[int, typer.Option(min=1, help="List at most this many; all are counted.")] = 1000,
    as_json: Json = False,
) -> None:
    """List discrepancies 差错 between hub, channel and bank, oldest first, with age; exit code 1 if there is any."""
    import reconciliation
    from kernel import clock
    from kernel.db import acquire
    from reconciliation import report, text
    from reconciliation.store import sum_discrepancies

    found = settings()

    async def work() -> int:
        async with looking(found, book, may_lack_secrets=True) as hub, acquire(hub.pool) as connection:
            now = hub.env.now()
            cases = await reconciliation.discrepancies(connection, book, now=now, limit=limit)
            sums = await sum_discrepancies(connection, book)
        if as_json:
            show(report.of_cases(cases, sums, clock.business_date(now)))
        else:
            lines = [line for case in cases for line in text.of_case(case)]
            typer.echo("\n".join([*lines, text.of_cases(sums, len(cases))]))
        return 1 if cases else 0

    finish(work())
