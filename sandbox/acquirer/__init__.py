"""What all simulated acquirers share: orders, refunds, fund flow, days, notices, faults and the control API.

A rail implements `Wire`, builds an `Acquirer` on it and adds its own routes; README.md one folder up says how.
"""

from sandbox.acquirer.bills import BillRow
from sandbox.acquirer.core import Acquirer, make_room
from sandbox.acquirer.days import PayingBank
from sandbox.acquirer.disputes import Dispute
from sandbox.acquirer.errors import CoreError
from sandbox.acquirer.guard import Dropped, Ordered
from sandbox.acquirer.models import Event, Merchant, Refund, Trade
from sandbox.acquirer.wire import DisputeTold, NoticeJob, NumberKind, Sending, Signed, Webhook, Wire

__all__ = [
    "Acquirer",
    "BillRow",
    "CoreError",
    "Dispute",
    "DisputeTold",
    "Dropped",
    "Event",
    "Merchant",
    "NoticeJob",
    "NumberKind",
    "Ordered",
    "PayingBank",
    "Refund",
    "Sending",
    "Signed",
    "Trade",
    "Webhook",
    "Wire",
    "make_room",
]
