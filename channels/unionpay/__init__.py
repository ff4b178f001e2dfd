"""UnionPay 银联 as a channel: see README.md."""

from channels.face import Face
from channels.unionpay.adapter import UnionPay, build

SECRETS = frozenset({"private_key"})  # settings that are sealed at rest; each may end in _file instead
# A payer's code: 19 digits from 62. By what integrators write; UnionPay's own document could not be read. No account of
# the hub's takes one yet; whoever scans one is told so.
PAYER_CODE = r"62[0-9]{17}"
SETTINGS = frozenset(
    {"mer_id", "cert_id", "private_key", "root_cert", "middle_cert", "base_url", "file_url", "sign_cert_name"}
)  # all that it reads
ACCOUNT = ("mer_id",)  # of which each names the account at the rail
FACE = Face(
    ("银联", "UnionPay"),
    "银",
    "#b3202c",
    called=("union_pay", "cup", "upop", "yinlian", "银联", "云闪付"),
)

__all__ = ["ACCOUNT", "FACE", "PAYER_CODE", "SECRETS", "SETTINGS", "UnionPay", "build"]
