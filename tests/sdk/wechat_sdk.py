"""Runs in the environment of wechatpayv3: does what it is told, and prints what the library made of it.

Sees nothing of the hub. `told` (JSON on standard input) names the merchant and where WeChat Pay is.
"""

import json
import pathlib
import sys
import time
import urllib.request
from typing import Any

from wechatpayv3 import WeChatPay, WeChatPayType, utils


def read(told: dict[str, Any], name: str) -> str:
    return pathlib.Path(told[f"{name}_file"]).read_text()


def library(told: dict[str, Any]) -> Any:
    """Return the library in the key mode that is told, pointed at the sandbox."""
    if told["mode"] == "public_key":
        trust = {"public_key": read(told, "public_key"), "public_key_id": told["public_key_id"]}
    else:
        trust = {"cert_dir": str(pathlib.Path(told["platform_certificates"][0]["file"]).parent)}
    pay = WeChatPay(
        wechatpay_type=WeChatPayType.NATIVE,
        mchid=told["mchid"],
        appid=told["appid"],
        private_key=read(told, "private_key"),
        cert_serial_no=told["serial_no"],
        apiv3_key=read(told, "apiv3_key"),
        notify_url=told.get("notify_url", "http://127.0.0.1:9/notices"),
        **trust,
    )
    pay._core._gate_way = told["base_url"]
    return pay


def control(told: dict[str, Any], call: str, **body: Any) -> Any:
    raw = json.dumps({"mchid": told["mchid"], **body}).encode()
    request = urllib.request.Request(f"{told['base_url']}/control/wechat/{call}", raw, method="POST")
    with urllib.request.urlopen(request, timeout=100) as answer:
        return json.load(answer)


def said(answer: tuple[int, Any]) -> tuple[int, Any]:
    """Return status and body; a body that is JSON is read."""
    status, body = answer
    return status, json.loads(body) if isinstance(body, str) and body else body


def life(told: dict[str, Any]) -> dict[str, Any]:
    """Take a merchant through a day: codes, pages, refunds, closing, bills."""
    pay, mark = library(told), told["mark"]
    amount = {"total": 1234, "currency": "CNY"}
    done: dict[str, Any] = {}
    status, native = said(pay.pay(description="茶叶", out_trade_no=f"{mark}-native", amount=amount))
    done["native"] = [status, native["code_url"].split(":")[0]]
    inside = {"payer": {"openid": "oAlice"}, "pay_type": WeChatPayType.JSAPI}
    status, jsapi = said(pay.pay(description="茶叶", out_trade_no=f"{mark}-jsapi", amount=amount, **inside))
    done["jsapi"] = [status, jsapi["prepay_id"][:2]]
    scene = {"payer_client_ip": "203.0.113.7", "h5_info": {"type": "Wap"}}
    page = {"scene_info": scene, "pay_type": WeChatPayType.H5}
    status, h5 = said(pay.pay(description="茶叶", out_trade_no=f"{mark}-h5", amount=amount, **page))
    done["h5"] = [status, h5["h5_url"].startswith(told["base_url"])]
    status, app = said(
        pay.pay(description="茶叶", out_trade_no=f"{mark}-app", amount=amount, pay_type=WeChatPayType.APP)
    )
    done["app"] = [status, app["prepay_id"][:2]]
    for name in ("native", "jsapi"):
        control(told, "pay", out_trade_no=f"{mark}-{name}")
    status, paid = said(pay.query(out_trade_no=f"{mark}-jsapi"))
    done["query"] = [status, paid["trade_state"], paid["trade_type"], paid["amount"]["total"], paid["payer"]["openid"]]
    status, same = said(pay.query(transaction_id=paid["transaction_id"]))
    done["query_by_id"] = [status, same == paid]
    done["close"] = [pay.close(f"{mark}-h5")[0], said(pay.query(out_trade_no=f"{mark}-h5"))[1]["trade_state"]]
    part = {"refund": 234, "total": 1234, "currency": "CNY"}
    status, refund = said(pay.refund(f"{mark}-r", part, out_trade_no=f"{mark}-native", reason="不合适"))
    done["refund"] = [status, refund["status"] in ("PROCESSING", "SUCCESS"), refund["amount"]["refund"]]
    done["refunded"] = wait(lambda: said(pay.query_refund(f"{mark}-r"))[1]["status"], "SUCCESS")
    day = told["date"]
    done["too_early"] = said(pay.trade_bill(day))[1]["code"]
    control(told, "close-day", date=day)
    for name, bill in (("trade_bill", pay.trade_bill), ("fundflow_bill", pay.fundflow_bill)):
        status, where = said(bill(day, tar_type=""))
        content = pay.download_bill(where["download_url"])[1]
        text = content.decode() if isinstance(content, bytes) else content
        done[name] = [status, where["hash_type"], text.count("\r\n`")]
    done["unknown"] = [said(pay.query(out_trade_no=f"{mark}-nobody"))[0]]
    pay._core._certificates.clear()  # so that the next answer's key has to be fetched, where it is a certificate's
    pay.query(out_trade_no=f"{mark}-native")
    done["keys_fetched"] = min(len(pay._core._certificates), 1)
    return done


def sharing(told: dict[str, Any]) -> dict[str, Any]:
    """Share a payment out, fetch a share back, release the rest."""
    pay, mark, supplier = library(told), told["mark"], told["supplier"]
    done: dict[str, Any] = {}
    amount, settle = {"total": 10_000, "currency": "CNY"}, {"profit_sharing": True}
    pay.pay(description="茶叶", out_trade_no=f"{mark}-s", amount=amount, settle_info=settle)
    number = control(told, "pay", out_trade_no=f"{mark}-s")["transaction_id"]
    status, added = said(pay.profitsharing_add_receiver("MERCHANT_ID", supplier, "SUPPLIER", name="supplier"))
    done["added"] = [status, pay.decrypt(added["name"])]
    receivers = [{"type": "MERCHANT_ID", "account": supplier, "amount": 3000, "description": "货款"}]
    status, shared = said(pay.profitsharing_order(number, f"{mark}-o", receivers, unfreeze_unsplit=False))
    done["shared"] = [status, shared["receivers"][0]["amount"]]

    def share() -> str:
        return str(said(pay.profitsharing_order_query(number, f"{mark}-o"))[1]["receivers"][0]["result"])

    done["share"] = wait(share, "SUCCESS")
    back = pay.profitsharing_return(f"{mark}-b", supplier, 1000, "退货", out_order_no=f"{mark}-o")
    done["back"] = said(back)[0]

    def returned() -> str:
        return str(said(pay.profitsharing_return_query(f"{mark}-o", f"{mark}-b"))[1]["result"])

    done["returned"] = wait(returned, "SUCCESS")
    again = pay.profitsharing_return(f"{mark}-b2", supplier, 500, "退货", order_id=shared["order_id"])
    done["back_by_id"] = said(again)[0]
    done["unsplit"] = said(pay.profitsharing_amount_query(number))[1]["unsplit_amount"]
    done["released"] = said(pay.profitsharing_unfreeze(number, f"{mark}-u", "完成"))[0]
    done["nothing_left"] = said(pay.profitsharing_amount_query(number))[1]["unsplit_amount"]
    done["removed"] = said(pay.profitsharing_delete_receiver("MERCHANT_ID", supplier))[0]
    return done


def combined(told: dict[str, Any]) -> dict[str, Any]:
    """Pay two orders in one go."""
    pay, mark = library(told), told["mark"]
    parts = [
        {"mchid": mchid, "out_trade_no": f"{mark}-c{n}", "attach": "x", "description": "茶叶", "amount": part}
        for n, mchid in enumerate((told["mchid"], told["supplier"]))
        for part in ({"total_amount": 100 + n, "currency": "CNY"},)
    ]
    made = said(pay.combine_pay(f"{mark}-c", parts, pay_type=WeChatPayType.NATIVE))
    control(told, "pay", out_trade_no=f"{mark}-c")
    view = said(pay.combine_query(f"{mark}-c"))[1]
    return {
        "made": made[0],
        "paid": [[part["trade_state"], part["amount"]["total_amount"]] for part in view["sub_orders"]],
    }


def callbacks(told: dict[str, Any]) -> list[Any]:
    """Read messages as notices; return what each says, null for one that is not believed."""
    pay = library(told)
    read_as = []
    for message in told["messages"]:
        try:
            found = pay.callback(message["headers"], bytes.fromhex(message["body"]))
        except Exception:
            found = None
        read_as.append(found and [found["event_type"], found["id"], found["resource"]])
    return read_as


def signatures(told: dict[str, Any]) -> dict[str, Any]:
    """Sign what the hub signed, at its moment and with its nonce."""
    key = utils.load_private_key(read(told, "private_key"))
    time.time = lambda: told["seconds"]
    return {
        "requests": [
            utils.build_authorization(
                one["path"], one["method"], told["mchid"], told["serial_no"], key, one["body"], told["nonce"]
            )
            for one in told["requests"]
        ],
        "calls": [utils.rsa_sign(key, "\n".join(lines) + "\n") for lines in told["calls"]],
        "opened": [
            utils.rsa_decrypt(one["ciphertext"], utils.load_private_key(pathlib.Path(one["key_file"]).read_text()))
            for one in told["sealed"]
        ],
    }


def wait(look: Any, wanted: str) -> str:
    for _ in range(5_000):
        if (seen := look()) == wanted:
            break
        time.sleep(0.02)
    return str(seen)


if __name__ == "__main__":
    what = {one.__name__: one for one in (life, sharing, combined, callbacks, signatures)}
    print(json.dumps(what[sys.argv[1]](json.load(sys.stdin))))
