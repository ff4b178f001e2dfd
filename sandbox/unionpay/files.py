"""Settlement files 清算文件: ZM, transactions; ZME, exceptions, of which there are none here. Fixed width, GBK."""

import zipfile
import zlib
from base64 import b64encode
from datetime import date, datetime
from io import BytesIO

from sandbox.acquirer import BillRow, Merchant
from sandbox.acquirer.bills import Bills
from sandbox.clock import BEIJING

# Of the layout's 41 columns.
WIDTHS = (3, 11, 11, 6, 10, 19, 12, 4, 2, 21, 2, 32, 2, 6, 10, 13, 13, 4, 15, 2, 2, 6, 2, 4, 32, 1, 21, 15, 1, 15, 32,
          13, 13, 8, 32, 13, 13, 12, 2, 1, 131)  # fmt: skip
CODES = {"01": "S22", "03": "S22", "04": "S30", "31": "S31", "33": "S31"}


def settlement(bills: Bills, merchant: Merchant, day: date) -> tuple[str, str]:
    """Return the name of a day's file and its content: a zip, deflated once more, in base64; faults applied."""
    rows, asked = bills.rows(merchant, day), day
    day = bills.day_shown(merchant, day)
    # What failed is in no file; what is under way is: its money has left the merchant.
    lines = [_line(merchant, row) for row in rows if row.status != "failed" or row.kind == "payment"]
    text = b"".join(line + b"\r\n" for line in lines)
    stem = f"INN{day:%y%m%d}88"
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr(f"{stem}ZM_{merchant.merchant}", text)
        target.writestr(f"{stem}ZME_{merchant.merchant}", b"")
    # Cut where it is packed: rows have no totals after them, so a text that ends after a whole row is a whole text.
    packed = bills.cut(merchant, asked, zlib.compress(archive.getvalue()))
    return f"{merchant.merchant}_{asked:%Y%m%d}.zip", b64encode(packed).decode()


def _line(merchant: Merchant, row: BillRow) -> bytes:
    numbers = row.refund_extra if row.kind == "refund" else row.extra.get("capture", row.extra)
    txn_type = str(numbers.get("txnType", "01"))
    known = row.status in ("success", "processing")
    traced = str(numbers.get("txnTime", ""))[4:] or f"{datetime.fromtimestamp(row.at_ms // 1000, BEIJING):%m%d%H%M%S}"
    refund = row.kind == "refund"
    net = row.amount - abs(row.fee)
    fields = [""] * len(WIDTHS)
    fields[0] = CODES.get(txn_type, "S22") if known else "E99"
    fields[1] = fields[2] = "01020000"
    fields[3], fields[4], fields[5] = row.ref[-6:], traced, "6216***********0018"
    fields[6] = f"{row.amount:012d}"
    fields[7], fields[8] = "5999", "07"
    fields[9], fields[11] = row.ref, str(numbers.get("orderId", row.order))
    fields[12], fields[13], fields[14] = "01", row.payment_ref[-6:] if refund else "", ""
    fields[15] = f"{'C' if refund else 'D'}{abs(row.fee):012d}"  # 商户手续费: kept, or given back
    fields[16] = f"{'D' if refund else 'C'}{net:012d}"  # 结算金额
    fields[19], fields[20], fields[21] = txn_type, str(numbers.get("txnSubType", "01")), "000201"
    fields[26], fields[27] = row.payment_ref if refund else (row.hold_ref or ""), merchant.merchant
    fields[34] = str(numbers.get("reqReserved", ""))
    encoded = [field.encode("gbk", "replace")[:width] for field, width in zip(fields, WIDTHS, strict=True)]
    return b" ".join(field.ljust(width) for field, width in zip(encoded, WIDTHS, strict=True))
