"""UnionPay 银联 as a channel: see README.md."""

from channels.face import Face
from channels.unionpay.adapter import UnionPay, build

SECRETS = frozenset({"private_key"})  # settings that are sealed at rest; each may end in _file instead
FACE = Face(
    ("银联", "UnionPay"),
    "银",
    "#b3202c",
    called=("union_pay", "cup", "upop", "yinlian", "银联", "云闪付"),
)

__all__ = ["FACE", "SECRETS", "UnionPay", "build"]
