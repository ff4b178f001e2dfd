"""UnionPay's settlement files 清算文件 (ZM transactions, ZME exceptions): read whole or not at all.

A row is of fixed width in bytes, GBK, its fields parted by one space. Source: UnionPay's file layout as its public SDKs
read it; field names in comments are those of the layout.
"""

import re
import zipfile
import zlib
from base64 import b64decode
from binascii import Error as NotBase64
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from io import BytesIO
from itertools import accumulate

from channels.contract import BadBill, BillLine, Kind
from channels.unionpay.messages import reference
from kernel.clock import BEIJING
from kernel.money import Money

MAX_BYTES = 256 << 20  # unpacked; some 400 000 transactions of one merchant and day
ZM = (3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2, 2, 6, 2, 4, 32, 1, 21, 15, 1, 15, 32, 13,
      13, 8, 32, 13, 13, 12, 2, 1)  # fmt: skip
ZME = (3, 11, 11, 6, 10, 19, 12, 4, 2, 2, 6, 10, 4, 12, 13, 13, 15, 15, 1, 12, 2)
_NAME = re.compile(r"INN([0-9]{6})88(ZME?)_([0-9A-Za-z]+)", re.ASCII)
_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_SIGNED = re.compile(r"([CD])([0-9]{1,12})", re.ASCII)
_PAYMENTS, _REFUNDS = ("01", "03"), ("04", "31", "33")  # 交易类型: consume, completion · refund, undos


def inflated(file_content: str) -> bytes:
    """Return the zip in a `fileContent` field: base64 around zlib. Raises BadBill."""
    try:
        packed = b64decode(file_content, validate=True)
        machine = zlib.decompressobj()
        content = machine.decompress(packed, MAX_BYTES)
    except (NotBase64, ValueError, zlib.error) as error:
        raise BadBill("damaged", f"fileContent cannot be unpacked: {error}") from None
    if machine.unconsumed_tail:
        raise BadBill("too_large", f"the file has more than {MAX_BYTES} bytes")
    if not machine.eof or machine.unused_data:
        raise BadBill("truncated", "fileContent ends too early, or something follows it")
    return content


def lines(content: bytes, *, day: date, mer_id: str, only_late: bool = False) -> Iterator[BillLine]:
    """Return the lines of a settlement file, a zip or its ZM file alone. Raises BadBill before the first line.

    The business day may begin the evening before, so rows of that date are let through beside rows of the day; a file
    of nothing else is another day's, unless the caller knows better (only_late) or its name says which day's it is.
    """
    if not content:
        raise BadBill("not_a_bill", "the file is empty; one of a day without business is a zip, or a line's end")
    if content.startswith(b"PK"):
        transactions, exceptions = _unzipped(content, day, mer_id)
        only_late = True  # the name, under UnionPay's signature, says whose day it is
    else:
        transactions, exceptions = content, b""

    def read() -> Iterator[BillLine]:
        yield from _transactions(transactions, day, mer_id, only_late)
        yield from _exceptions(exceptions, day)

    deque(read(), maxlen=0)
    return read()


def _unzipped(content: bytes, day: date, mer_id: str) -> tuple[bytes, bytes]:
    """Return the ZM and the ZME file of a zip."""
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            for entry in archive.infolist():
                match = _NAME.fullmatch(entry.filename)
                if match is None:
                    continue
                if match[1] != f"{day:%y%m%d}":
                    raise BadBill("other_day", f"the file {entry.filename} is of another day than {day}")
                if match[3] != mer_id:
                    raise BadBill("other_merchant", f"the file {entry.filename} is not of merchant {mer_id}")
                if match[2] in found or entry.file_size + sum(map(len, found.values())) > MAX_BYTES:
                    raise BadBill("damaged", f"{entry.filename} stands twice, or is too large")
                found[match[2]] = archive.read(entry)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise BadBill("damaged", f"the zip cannot be opened: {error}") from None
    if "ZM" not in found:
        raise BadBill("not_a_bill", "the zip holds no file of transactions (…ZM_…)")
    return found["ZM"], found.get("ZME", b"")


def _transactions(content: bytes, day: date, mer_id: str, only_late: bool) -> Iterator[BillLine]:
    seen: set[date] = set()
    for row, fields in _rows(content, ZM):
        if fields[27] != mer_id:  # 商户代码
            raise BadBill("other_merchant", f"line {row} is of merchant {fields[27]!r}, not of {mer_id}")
        code, amount, query_id, number, txn_type = fields[0], fields[6], fields[9], fields[11], fields[19]
        if not number or not _DIGITS.fullmatch(query_id) or not _DIGITS.fullmatch(amount):
            raise BadBill("damaged", f"line {row} lacks its number, or has the amount {amount!r}")
        fee, settled = _signed(fields[15], row), _signed(fields[16], row)  # 商户手续费, 结算金额
        is_refund = txn_type in _REFUNDS or (txn_type not in _PAYMENTS and settled < 0)
        happened_at = _moment(fields[4], day, row)
        seen.add(happened_at.date())
        known = code.startswith("S") and txn_type in (*_PAYMENTS, *_REFUNDS)
        ours = reference(number)
        yield BillLine(
            kind=Kind.REFUND if is_refund else Kind.PAYMENT,
            reference=ours,
            payment_reference=(reference(fields[34]) or ours) if is_refund else ours,  # 商户自定义域: what we put there
            channel_ref=query_id,
            amount=Money(int(amount), "CNY"),
            fee=Money(-fee, "CNY"),
            status="success" if known else "unknown",  # the row counts, its meaning is for a person
            happened_at=happened_at,
            row=row,
        )
    if seen and day not in seen and not only_late:
        raise BadBill("other_day", f"no row is of {day}, all are of the day before")


def _exceptions(content: bytes, day: date) -> Iterator[BillLine]:
    """Return the rows of the exceptions: what they mean is for a person, so their numbers are nobody's."""
    for row, fields in _rows(content, ZME):
        if not _DIGITS.fullmatch(fields[6]):
            raise BadBill("damaged", f"line {row} of the exceptions has the amount {fields[6]!r}")
        number = f"ZME-{fields[0]}-{fields[3]}-{fields[4]}"
        zero = Money(0, "CNY")
        at = datetime(day.year, day.month, day.day, tzinfo=BEIJING)
        yield BillLine(Kind.REFUND, number, number, number, Money(int(fields[6]), "CNY"), zero, "unknown", at, row)


def _rows(content: bytes, widths: Sequence[int]) -> Iterator[tuple[int, list[str]]]:
    """Yield (line number, fields). All lines are of one length; what follows the known fields is reserved."""
    ends = list(accumulate(widths, lambda end, width: end + 1 + width))
    places = [(end - width, end) for end, width in zip(ends, widths, strict=True)]
    length: int | None = None
    for row, raw in enumerate(BytesIO(content), 1):
        line = raw.removesuffix(b"\n").removesuffix(b"\r")
        if not line.strip(b" \x1a"):
            continue  # an empty line at the end
        length = len(line) if length is None else length
        if len(line) != length or length <= ends[-1] or any(line[end] != 32 for end in ends):
            raise BadBill("damaged", f"line {row} has {len(line)} bytes, or its fields are not where they belong")
        try:
            yield row, [line[start:end].decode("gbk").strip() for start, end in places]
        except UnicodeDecodeError:
            raise BadBill("damaged", f"line {row} is not GBK text") from None


def _signed(text: str, row: int) -> int:
    """Return an amount with its sign: C 贷 is to the merchant's credit, D 借 to its debit."""
    match = _SIGNED.fullmatch(text)
    if match is None:
        raise BadBill("damaged", f"line {row} has the signed amount {text!r}")
    return int(match[2]) if match[1] == "C" else -int(match[2])


def _moment(text: str, day: date, row: int) -> datetime:
    """Return 交易传输时间, MMDDHHmmss without a year. Raises BadBill when it is not of the day or the day before."""
    for of in (day, day - timedelta(days=1)):
        if text[:4] == f"{of:%m%d}":
            try:
                return datetime.strptime(f"{of:%Y%m%d}{text[4:]}", "%Y%m%d%H%M%S").replace(tzinfo=BEIJING)
            except ValueError:
                break
    raise BadBill("other_day", f"line {row} has the time {text!r}, the file is asked of {day}")
