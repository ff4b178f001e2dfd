"""China Merchants Bank's direct link 云直联: asks and is answered; what it is answered becomes files. Keeps nothing.

The bank writes no files and gives no notices: it is asked what it has. An order is asked for before it is given, so one
of which the answer was lost is never given twice. What has not changed since it was asked last is asked for less and
less often.
"""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, ClassVar

import orjson

from channels.banks.cmb import messages
from channels.banks.cmb.settings import CmbSettings
from channels.banks.cmb.wire import PAGES, Link, readable
from channels.banks.errors import BadStatement
from channels.banks.files import Accepted, BankAccount, FileInfo, FilePage, Kind
from channels.banks.orders import Order
from channels.contract import Refused, Unknown
from kernel.clock import business_date
from kernel.env import Env, NoAnswer, NotSent
from kernel.errors import Rejected, Unavailable
from kernel.money import from_major

BATCH, NOTICE, DAY = "cmb.batch", "cmb.bookings", "cmb.day"
LOOK_BACK = timedelta(days=10)  # of statements that were not asked for
BATCHES_OF = timedelta(days=31)  # 起始日期: the bank tells of a month's batches
MOST_WAIT_S = 300.0


class CmbClient(Link):
    """One customer's way to the bank. Every call may be repeated."""

    types: ClassVar[Mapping[Kind, str]] = {Kind.REPORT: BATCH, Kind.NOTICE: NOTICE, Kind.STATEMENT: DAY}
    keeps_files = False

    def __init__(self, settings: CmbSettings, env: Env) -> None:
        """Read the keys; raises ValueError when one of them cannot be used."""
        super().__init__(settings, env)
        self.most_wait_s = MOST_WAIT_S
        self._held: dict[str, dict[str, bytes]] = {}  # files that were listed, by id and hash, the last one last
        self._rest: dict[str, tuple[float, float]] = {}  # pause and end of it, by what is asked

    def unsayable(self, name: str, account: str | None = None) -> str | None:
        """Return why a payee cannot be paid here; None where it can."""
        return messages.unsayable(name, account)

    # ---- accounts ----------------------------------------------------------------------------------------------------

    async def pool_account(self, reference: str, name: str, currency: str) -> str:
        """Return the pool account of the settings, if it is open and the named holder's.

        The bank opens none over the link. Raises Rejected (bank_other_currency, bank_other_holder,
        bank_account_closed, or the bank's no), Unavailable.
        """
        if currency != messages.CURRENCY:
            raise Rejected("bank_other_currency", f"the direct link is to accounts in CNY, not in {currency}")
        found = await self.account(self.settings.account)
        if found.status != "open":
            raise Rejected("bank_account_closed", f"account …{found.account[-4:]} is {found.status} at the bank")
        if found.name != self.settings.account_holder:
            raise Rejected("bank_other_holder", "the bank holds the account in another name than account_holder")
        return found.account

    async def account(self, number: str) -> BankAccount:
        """Return an account as it is now. Raises Rejected for one that is not ours, Unavailable."""
        asked = {"accnbr": number} | ({"bbknbr": self.settings.branch} if self.settings.branch else {})
        _, response = await self._asked(messages.STANDING, {"ntqadinfx": [asked]})
        try:
            row = next(row for row in messages.rows(response, "ntqadinfz") if row.get("accnbr") == number)
            if row.get("errcod") != messages.OK:
                raise StopIteration
            minor = from_major(row["onlblv"], messages.CURRENCY).minor
        except StopIteration:
            raise Rejected("bank_no_such_account", "the bank shows us no such account", status=404) from None
        except (BadStatement, KeyError, ValueError) as error:
            raise Unavailable("bank_answer_unreadable", f"the bank's account cannot be read: {error!r}") from None
        status = {"A": "open", "B": "blocked"}.get(row.get("stscod", ""), "closed")
        kind = "pool" if number == self.settings.account else "sub"
        return BankAccount(number, row.get("accnam", ""), messages.CURRENCY, kind, status, minor)

    # ---- orders ------------------------------------------------------------------------------------------------------

    async def submit(self, order: Order) -> Accepted | Refused | Unknown:
        """Give the bank an order, where it has not got it. After Unknown, call again: it is asked for first.

        Raises Rejected (bad_instruction).
        """
        parts = messages.parts(order)
        try:
            has = await self._batches(order.message_id)
        except (Unavailable, Rejected) as error:
            return Unknown(str(error), not_sent=True)
        refused: list[tuple[str, str]] = []
        no: Refused | None = None
        for number, lines in parts:
            if number in has:
                if not messages.is_of(has[number], lines):
                    return Unknown(f"the bank has another batch under {number}")
                continue
            try:
                body = messages.payment(order, number, lines, self.settings.mode)
                _, response = await self._call(messages.PAY, body)
            except NotSent as error:
                return Unknown(str(error), not_sent=True)
            except (NoAnswer, Unavailable, BadStatement) as error:
                return Unknown(str(error))
            if (told := messages.refusal(response)) is not None:
                no = Refused(*told)
                refused += [(line.end_to_end_id, f"{no.code}: {no.message}"[:200]) for line in lines]
        if no is None:
            return self._accepted(order.message_id, ())
        try:  # what was refused may be a repetition, whose first the bank has
            has = await self._batches(order.message_id)
        except (Unavailable, Rejected) as error:
            return Unknown(str(error))
        if not has:
            return no
        missing = {line.end_to_end_id for number, lines in parts if number not in has for line in lines}
        return self._accepted(order.message_id, tuple(one for one in refused if one[0] in missing))

    def _accepted(self, message_id: str, refused: tuple[tuple[str, str], ...]) -> Accepted:
        return Accepted("", message_id, "", self._env.now().isoformat(), refused)

    async def uploads(self, message_id: str) -> tuple[Accepted, ...]:
        """Return what the bank has under our number; empty: nothing. Raises Unavailable, Rejected."""
        found = await self._batches(message_id)
        return tuple(Accepted("", message_id, "", row.get("trsDat", "")) for row in found.values())

    async def _batches(self, message_id: str | None = None) -> dict[str, dict[str, str]]:
        """Return the bank's batches of the last month by their numbers; of one message of ours, where it is given."""
        _, response = await self._asked(messages.BATCHES, self._month())
        return {
            row["bthNbr"]: row
            for row in readable(response, "bb1qrybtz1")
            if row.get("bthNbr") and message_id in (None, messages.message_of(row["bthNbr"]))
        }

    def _month(self) -> dict[str, Any]:
        today = business_date(self._env.now())
        return {"bb1qrybtx1": [{"begDat": _day(today - BATCHES_OF), "endDat": _day(today)}]}

    # ---- what became of them, bookings, days -------------------------------------------------------------------------

    async def list_files(
        self, type: str, after: str | None = None, *, under_way: Sequence[str] = (), limit: int = 100
    ) -> FilePage:
        """Ask for what is new, and return it as files. Raises Unavailable, Rejected.

        Of batches: those under way whose answer is another than the cursor has. Of bookings: those after the cursor.
        Of days: each that is over, after the one that the cursor names.
        """
        if type == BATCH:
            return await self._reports(after, under_way)
        if type == NOTICE:
            return await self._bookings(after)
        return await self._days(after)

    async def fetch(self, file: FileInfo | str) -> bytes:
        """Return a file that was listed last. Raises BadStatement: the bank has no files, and is asked anew."""
        ident, digest = (file, None) if isinstance(file, str) else (file.file_id, file.sha256)
        answers = self._held.get(ident)
        if not answers:
            raise BadStatement("not_held", "the bank answers questions and has no files: what it said is asked anew")
        last = next(reversed(answers.values()))
        # Two may ask the same at one time, and each answer has a number and a signature of its own.
        content = last if digest is None else answers.get(digest)
        if content is None:
            raise BadStatement("other_file", f"{ident} is not what was listed: its hash differs", last)
        return content

    async def _reports(self, after: str | None, under_way: Sequence[str]) -> FilePage:
        """Ask what became of batches. The cursor has a digest of what was answered last about each."""
        before: dict[str, str] = orjson.loads(after or "{}")
        known = {ident: digest for ident, digest in before.items() if ident in under_way}
        due = [ident for ident in under_way if self._is_due(ident)]
        if not due:
            return FilePage((), after)
        text, response = await self._asked(messages.BATCHES, self._month())
        found: list[FileInfo] = []
        for ident in due:
            batches = [row for row in readable(response, "bb1qrybtz1") if ident == _message(row)]
            if not batches:
                self._later(ident)
                continue
            told, texts = [*batches], []
            for row in batches:
                more, said = await self._pages(messages.LINES, "bb1qrybdy1", {"bthNbr": row["bthNbr"]}, "bb1qrybdz1")
                texts += more
                told += said
            digest = hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()
            if known.get(ident) == digest:
                self._later(ident)
                continue
            known[ident] = digest
            self._rest.pop(ident, None)
            today = business_date(self._env.now())
            found.append(self._hold(BATCH, ident, f"{ident}-{digest[:12]}", today, [text, *texts]))
        return FilePage(tuple(found), orjson.dumps(known, option=orjson.OPT_SORT_KEYS).decode() if found else after)

    async def _bookings(self, after: str | None) -> FilePage:
        """Return up to 200 bookings after a cursor: the day to begin with, and the bank's keys to go on with."""
        if not self._is_due(NOTICE):
            return FilePage((), after)
        today = business_date(self._env.now())
        cursor: dict[str, Any] = {"from": _day(today - LOOK_BACK), "keys": [], "at": ""}
        cursor |= orjson.loads(after or "{}")
        texts, rows, following = await self._booked(cursor["from"], _day(today), cursor["keys"], cursor["at"])
        if not rows:
            self._later(NOTICE)
            return FilePage((), after)
        self._rest.pop(NOTICE, None)
        last = max(row.get("transDate", "") for row in rows)
        ident = f"bookings-{hashlib.sha256(''.join(texts).encode()).hexdigest()[:16]}"
        file = self._hold(NOTICE, self.settings.account, ident, messages.day_of(last) or today, texts)
        first = cursor["from"] if following["at"] else last
        return FilePage((file,), orjson.dumps({"from": first, **following}).decode())

    async def _booked(
        self, first: str, last: str, keys: Sequence[Any], at: str
    ) -> tuple[list[str], list[dict[str, str]], dict[str, Any]]:
        """Ask for a page of bookings; return the answers, the bookings and where they go on."""
        asked = {"cardNbr": self.settings.account, "beginDate": first, "endDate": last,
                 "currencyCode": messages.CNY, "queryAcctNbr": at}  # fmt: skip
        body = {"TRANSQUERYBYBREAKPOINT_X1": [asked]} | ({"TRANSQUERYBYBREAKPOINT_Y1": list(keys)} if keys else {})
        text, response = await self._asked(messages.BOOKINGS, body)
        rows = readable(response, "TRANSQUERYBYBREAKPOINT_Z2")
        page = next(iter(readable(response, "TRANSQUERYBYBREAKPOINT_Z1")), {})
        following = {
            "keys": readable(response, "TRANSQUERYBYBREAKPOINT_Y1") or list(keys),
            "at": page.get("queryAcctNbr", "") if page.get("ctnFlag") == "Y" else "",
        }
        texts = [text]
        back = [row for row in rows if row.get("loanCode") == "C" and row.get("yurRef")]
        if back:  # what came back is told with its reason by another question
            days = sorted(row.get("transDate", "") for row in back)
            asked = {"accNbr": self.settings.account, "bgnDat": days[0], "endDat": days[-1]}
            texts += (await self._pages(messages.RETURNS, "bb1payqby1", asked, "bb1payqbz1"))[0]
        return texts, rows, following

    async def _days(self, after: str | None) -> FilePage:
        """Return the statement of each day that is over and whose balance the bank tells."""
        yesterday = business_date(self._env.now()) - timedelta(days=1)
        first = yesterday - LOOK_BACK if after is None else date.fromisoformat(after) + timedelta(days=1)
        if first > yesterday:
            return FilePage((), after)
        files: list[FileInfo] = []
        day = first
        while day <= yesterday:
            asked = {"accnbr": self.settings.account, "bgndat": _day(day - timedelta(days=1)), "enddat": _day(day)}
            asked |= {"bbknbr": self.settings.branch} if self.settings.branch else {}
            text, response = await self._asked(messages.BALANCES, {"ntqabinfy": [asked]})
            if len(readable(response, "ntqabinfz")) == 2:
                texts, keys, at = [text], list[Any](), ""
                for _ in range(PAGES):
                    more, rows, following = await self._booked(_day(day), _day(day), keys, at)
                    texts += more
                    keys, at = following["keys"], following["at"]
                    if not at or not rows:
                        break
                files.append(self._hold(DAY, self.settings.account, f"day-{day.isoformat()}", day, texts))
            day += timedelta(days=1)
        return FilePage(tuple(files), yesterday.isoformat() if files else after)

    def _hold(self, type: str, about: str, ident: str, day: date, texts: Sequence[str]) -> FileInfo:
        """Hold what was answered until it is fetched; the hub keeps it then."""
        content = messages.file_of(about, texts)
        while len(self._held) >= 64:
            self._held.pop(next(iter(self._held)))
        digest = hashlib.sha256(content).hexdigest()
        answers = self._held.setdefault(ident, {})
        while len(answers) >= 8:
            answers.pop(next(iter(answers)))
        answers[digest] = content
        now = self._env.now().isoformat(timespec="seconds")
        return FileInfo(ident, type, f"{ident}.json", day, now, digest, about if type == BATCH else None)

    def _is_due(self, what: str) -> bool:
        return self._env.clock.monotonic() >= self._rest.get(what, (0.0, 0.0))[1]

    def _later(self, what: str) -> None:
        pause = min(2 * self._rest.get(what, (0.5, 0.0))[0], self.most_wait_s)
        self._rest[what] = pause, self._env.clock.monotonic() + pause


def _message(row: Mapping[str, str]) -> str:
    return messages.message_of(row.get("bthNbr", ""))


def _day(day: date) -> str:
    return f"{day:%Y%m%d}"
