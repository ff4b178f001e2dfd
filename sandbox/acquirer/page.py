"""The payer's page: amount, pay, decline. Plain HTML without a script, a picture or a request to anywhere else."""

from html import escape

from aiohttp import web

from sandbox.acquirer.models import Trade

POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action *; frame-ancestors 'none'"
_PAGE = """<!doctype html><html lang="zh"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<style>body{{font:16px/1.6 system-ui,sans-serif;max-width:24em;margin:8vh auto;padding:0 1.25em;overflow-wrap:anywhere}}
h1{{font-size:1em;font-weight:600;padding:.25em .75em;border:1px dashed;border-radius:.5em;display:inline-block}}
.amount{{font-size:2.25em;font-weight:650;margin:.5em 0 0}}label{{display:block;font-size:.9em}}
button,input,select{{font:inherit;padding:.6em 1em;border:1px solid #76847f;border-radius:.5em;box-sizing:border-box}}
input,select{{width:100%}}button{{width:100%;margin:.4em 0;cursor:pointer}}
button[value=pay],button:only-of-type{{background:#0b6e5f;border-color:#0b6e5f;color:#fff}}</style></head>
<body><main><h1>{title}</h1>{body}</main></body></html>"""
_THREE_DECIMALS = ("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND")
_NO_DECIMALS = ("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XPF")


def show(title: str, body: str, status: int = 200) -> web.Response:
    """Return a page. body: HTML."""
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    text = _PAGE.format(title=escape(title), body=body)
    return web.Response(status=status, text=text, content_type="text/html", charset="utf-8", headers=headers)


def ask(rail: str, trade: Trade, action: str) -> web.Response:
    """Return the page that asks the payer; it posts `choice` = pay or decline to `action`."""
    amount = f"{major(trade.amount, trade.currency)} {trade.currency}"
    if trade.state != "open":
        return ended(rail, trade)
    return show(
        f"沙箱 {rail}",
        f'<p class="amount">{escape(amount)}</p><p>{escape(trade.order)}</p>'
        f'<form method="post" action="{escape(action)}"><button name="choice" value="pay">支付 Pay</button>'
        '<button name="choice" value="decline">取消 Cancel</button></form>',
    )


def ended(rail: str, trade: Trade) -> web.Response:
    """Return the page that says how it went."""
    words = {
        "paid": "已支付 Paid",
        "held": "已授权 Authorised",
        "closed": "已关闭 Closed",
        "reversed": "已撤销 Reversed",
    }
    return show(f"沙箱 {rail}", f"<p>{words.get(trade.state, '未支付 Not paid')}</p><p>{escape(trade.order)}</p>")


def major(minor: int, currency: str) -> str:
    """Return an amount in major units as people read it."""
    digits = 0 if currency in _NO_DECIMALS else 3 if currency in _THREE_DECIMALS else 2
    return f"{minor // 10**digits}.{minor % 10**digits:0{digits}d}" if digits else str(minor)
