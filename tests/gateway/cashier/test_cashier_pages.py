"""The cashier's pages in a real browser: every wallet from one address, in two languages, on big and small screens."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import expect

from channels.wechat import messages
from tests.gateway.cashier.browsers import IN_ALIPAY, IN_WECHAT, PHONE, SHOP, Street, shot

pytestmark = pytest.mark.asyncio(loop_scope="session")

PLANTED = """() => {
    for (const [tag, values] of Object.entries({
        script: {textContent: "window.planted = 1"},
        img: {src: "https://elsewhere.example/x.png"},
        style: {textContent: "main { display: none }"},
        base: {href: "https://elsewhere.example/"},
        p: {id: "last-planted"},
    })) document.body.append(Object.assign(document.createElement(tag), values));
}"""
# The sizes of all letters on a page, and the texts of what is cut off at the edge of what holds it.
TEXT_SIZES = """() => [...document.querySelectorAll(".sheet *")]
    .filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()))
    .map((one) => parseFloat(getComputedStyle(one).fontSize))"""
CUT_OFF = """() => [...document.querySelectorAll(".way, .field, .facts, .code, header, main, footer")]
    .filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent.trim())"""
REFUSAL = {"status": 400, "code": "PARAM_ERROR"}


async def test_a_payer_at_a_computer_pays_by_code_and_the_page_follows(street: Street) -> None:
    payment = await street.payment(method={"return_url": "https://shop.example/thanks"})
    async with street.look() as look:
        page = look.page
        answer = await page.goto(payment["next_action"]["url"])
        assert answer is not None
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "form-action 'self';" in policy
        await shot(look, "choose")
        await page.get_by_role("button", name="支付宝").click()
        await expect(page.get_by_role("heading", name="用支付宝扫码")).to_be_visible()
        await shot(look, "code")
        await street.pays("alipay", payment)
        await expect(page.get_by_role("heading", name="付款成功")).to_be_visible()
        await shot(look, "paid")
        assert look.strangers(street.door) == []
        assert look.errors == []


async def test_a_payer_in_wechat_is_known_and_asked_by_wechat_itself(street: Street) -> None:
    payment = await street.payment()
    async with street.look(IN_WECHAT, width=390, height=844) as look:
        await street.wechat_bridge(look)
        page = look.page
        await page.goto(payment["next_action"]["url"])
        await shot(look, "wechat")
        await page.get_by_role("link", name="微信支付").click()
        await expect(page.get_by_role("heading", name="付款成功")).to_be_visible()
        assert look.errors == []
    assert [one["method"] for one in (await street.current(payment))["attempts"]] == ["jsapi"]


async def test_a_payer_in_alipay_pays_on_alipays_page_and_comes_back(street: Street) -> None:
    payment = await street.payment()
    async with street.look(IN_ALIPAY, width=390, height=844) as look:
        page = look.page
        await page.goto(payment["next_action"]["url"])
        await page.get_by_role("button", name="支付宝").click()
        await page.get_by_role("button", name="支付 Pay").click()
        await expect(page.get_by_role("heading", name="付款成功")).to_be_visible()


async def test_unionpays_form_is_carried_there_and_its_payer_comes_back(street: Street) -> None:
    payment = await street.payment()
    async with street.look(PHONE, width=360, height=740, locale="en-GB", color_scheme="dark") as look:
        page = look.page
        await page.goto(payment["next_action"]["url"])
        await shot(look, "phone-dark")
        assert (await look.width())[0] <= 360
        await page.get_by_role("button", name="UnionPay").click()
        await page.get_by_role("button", name="支付 Pay").click()
        await page.get_by_role("button", name="返回商户").click()
        await expect(page.get_by_role("heading", name="Paid")).to_be_visible()
        assert look.errors == []


async def test_a_phones_browser_tells_wechat_the_shops_domain_and_not_the_pages_address(street: Street) -> None:
    """WeChat Pay opens its page only for visitors of a registered domain, which it reads in Referer."""
    payment = await street.payment()
    async with street.look(PHONE, width=390, height=844) as look:
        page = look.page
        await page.goto(payment["next_action"]["url"])
        async with page.expect_request(f"{street.rails}/**/checkmweb?*") as left:
            await page.get_by_role("button", name="微信支付").click()
        assert (await (await left.value).all_headers())["referer"] == f"{street.door}/"
        await page.get_by_role("button", name="支付 Pay").click()
        await expect(page.get_by_role("heading", name="付款成功")).to_be_visible()
        assert look.errors == []


async def test_a_page_whose_link_to_wechat_runs_out_while_it_is_open_offers_a_fresh_one(
    street: Street, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "H5_LIVES", timedelta(seconds=12))
    payment = await street.payment()
    async with street.look(PHONE, width=390, height=844, locale="en-GB") as look:
        page = look.page
        await page.goto(payment["next_action"]["url"])
        async with page.expect_request(f"{street.rails}/**/checkmweb?*") as left:
            await page.get_by_role("button", name="WeChat Pay").click()
        first = (await left.value).url
        await page.wait_for_url(first)  # else the page that is begun here would cut off the next one
        await page.goto(payment["next_action"]["url"])
        await expect(page.get_by_role("link", name="WeChat Pay")).to_have_attribute("href", first)
        await expect(page.get_by_text("The link to pay has run out.")).to_be_visible()
        await shot(look, "run-out")
        async with page.expect_request(f"{street.rails}/**/checkmweb?*") as left:
            await page.get_by_role("button", name="WeChat Pay").click()
        assert (await left.value).url != first
        await page.get_by_role("button", name="支付 Pay").click()
        await expect(page.get_by_role("heading", name="Paid")).to_be_visible()
        assert look.errors == []
    (attempt,) = (await street.current(payment))["attempts"]
    assert (await street.trades("wechat"))[attempt["reference"]]["charged_count"] == 1


async def test_a_payer_at_paypals_page_comes_back_to_the_result(street: Street) -> None:
    payment = await street.payment(method={"return_url": "https://shop.example/thanks"})
    async with street.look() as look:
        await look.page.goto(payment["next_action"]["url"])
        await look.page.get_by_role("button", name="PayPal").click()
        await look.page.get_by_role("button", name="支付 Pay").click()
        await expect(look.page.get_by_role("heading", name="付款成功")).to_be_visible()
        back = look.page.get_by_role("link", name="返回商家")
        assert await back.get_attribute("href") == "https://shop.example/thanks"
        assert look.errors == []


async def test_a_payer_types_a_card_on_stripes_page_alone_and_comes_back_to_the_result(street: Street) -> None:
    payment = await street.payment(1250, method={"return_url": "https://shop.example/thanks"})
    async with street.look(PHONE, width=360, height=740, locale="en-GB") as look:
        page = look.page
        await page.goto(payment["next_action"]["url"])
        card = page.get_by_role("button", name="Card")
        await expect(card).to_contain_text("On Stripe's secure page")
        await expect(page.locator("input:not([type=hidden])")).to_have_count(0)
        await card.click()
        await page.wait_for_url(f"{street.rails}/sandbox/stripe/**")
        await page.get_by_role("button", name="取消 Cancel").click()  # the card is declined, and the payer goes back
        await expect(page.get_by_role("link", name="Pay ¥12.50")).to_be_visible()
        await shot(look, "card-leave")
        await page.get_by_role("link", name="Pay ¥12.50").click()
        await page.get_by_role("button", name="支付 Pay").click()
        await expect(page.get_by_role("heading", name="Paid")).to_be_visible()
        assert "Card" in await page.locator("dl").inner_text()
        assert look.strangers(street.door, street.rails) == []
        assert look.errors == []
    (attempt,) = (await street.current(payment))["attempts"]
    assert (attempt["method"], attempt["status"], attempt["amount_captured"]) == ("page", "confirmed", 1250)
    assert attempt["channel_ref"].startswith("pi_"), "what it is given back by"
    await street.refunded(payment, 250)


async def test_whoever_leaves_stripes_page_for_another_wallet_can_pay_only_there(street: Street) -> None:
    payment = await street.payment()
    async with street.look() as look:
        await look.page.goto(payment["next_action"]["url"])
        await look.page.get_by_role("button", name="银行卡").click()
        await look.page.get_by_role("button", name="取消 Cancel").click()
        await look.page.get_by_role("link", name="换一种付款方式").click()
        await look.page.get_by_role("button", name="支付宝").click()
        await expect(look.page.get_by_role("heading", name="用支付宝扫码")).to_be_visible()
        left = (await street.current(payment))["attempts"][0]
        await street.closed("stripe", left["reference"])
        await street.pays("alipay", payment)
        await expect(look.page.get_by_role("heading", name="付款成功")).to_be_visible()
    truth = await street.trades("stripe")
    assert truth[left["reference"]]["charged_count"] == 0


async def test_stripes_signed_notice_has_the_payment_end_where_its_payer_never_comes_back(street: Street) -> None:
    payment = await street.payment(method={"channel": "stripe"})
    async with street.look(java_script_enabled=False) as look:
        await look.page.goto(payment["next_action"]["url"])
        await look.page.get_by_role("button", name="支付 ¥88.00").click()
        attempt = (await street.current(payment))["attempts"][-1]
        match = {"merchant": street.merchants["stripe"]["merchant"], "op": "query", "order": attempt["reference"]}
        await street.control("faults", fault="system_error", rail="stripe", match=match, times=1)
        await street.pays("stripe", payment)  # whoever asks first, for the notice or without, gets no answer
        async with street.look() as other:  # waits for what this page, without scripts, is only told when it asks
            await other.page.goto(payment["next_action"]["url"])
            await expect(other.page.get_by_role("heading", name="付款成功")).to_be_visible()


async def test_a_payer_who_transfers_is_shown_the_account(street: Street) -> None:
    payment = await street.payment(12_345)
    async with street.look(width=360, height=740, locale="en-GB") as look:
        await look.page.goto(payment["next_action"]["url"])
        await look.page.get_by_role("button", name="Bank transfer").click()
        await expect(look.page.get_by_role("heading", name="Transfer to this account")).to_be_visible()
        await expect(look.page.get_by_text("123.45 CNY")).to_be_visible()
        await shot(look, "transfer")
        assert (await look.width())[0] <= 360
        await street.pays("bank_transfer", payment)
        await expect(look.page.get_by_role("heading", name="Paid")).to_be_visible()


async def test_a_payer_whose_wallet_says_no_chooses_another(street: Street) -> None:
    payment = await street.payment()
    await street.control("faults", fault="refuse", rail="wechat", match={"op": "create"}, params=REFUSAL)
    async with street.look() as look:
        await look.page.goto(payment["next_action"]["url"])
        await look.page.get_by_role("button", name="微信支付").click()
        await expect(look.page.get_by_role("status").filter(has_text="未扣款")).to_be_visible()
        await look.page.get_by_role("button", name="支付宝").click()
        await expect(look.page.get_by_role("heading", name="用支付宝扫码")).to_be_visible()
        await street.pays("alipay", payment)
        await expect(look.page.get_by_role("heading", name="付款成功")).to_be_visible()
    assert [one["status"] for one in (await street.current(payment))["attempts"]] == ["refused", "confirmed"]


async def test_whoever_changes_to_another_way_pays_once(street: Street) -> None:
    payment = await street.payment()
    async with street.look() as look:
        await look.page.goto(payment["next_action"]["url"])
        await look.page.get_by_role("button", name="微信支付").click()
        await expect(look.page.get_by_role("heading", name="用微信支付扫码")).to_be_visible()
        await look.page.reload()  # is no new attempt
        await expect(look.page.get_by_role("heading", name="用微信支付扫码")).to_be_visible()
        await look.page.get_by_role("link", name="换一种付款方式").click()
        await look.page.get_by_role("button", name="支付宝").dblclick()  # is one choice
        await expect(look.page.get_by_role("heading", name="用支付宝扫码")).to_be_visible()
    assert [one["channel"] for one in (await street.current(payment))["attempts"]] == ["wechat", "alipay"]


async def test_a_page_that_was_open_while_the_gateway_restarted_follows_on(street: Street) -> None:
    payment = await street.payment()
    async with street.look() as look:
        await look.page.goto(payment["next_action"]["url"])
        await look.page.get_by_role("button", name="微信支付").click()
        await expect(look.page.get_by_role("heading", name="用微信支付扫码")).to_be_visible()
        await street.restart()
        await street.pays("wechat", payment)
        await expect(look.page.get_by_role("heading", name="付款成功")).to_be_visible()


async def test_only_the_phone_that_began_in_wechat_is_asked_for_the_money(street: Street) -> None:
    payment = await street.payment()
    url = payment["next_action"]["url"]
    async with street.look(IN_WECHAT) as first, street.look(IN_WECHAT) as second, street.look() as computer:
        await street.wechat_bridge(first, declines=True)
        await computer.page.goto(url)
        await first.page.goto(url)
        await first.page.get_by_role("link", name="微信支付").click()
        await expect(first.page.get_by_text("尚未付款")).to_be_visible()
        await expect(computer.page.get_by_role("status").filter(has_text="其他设备")).to_be_visible()
        await second.page.goto(url)
        await expect(second.page.get_by_role("status").filter(has_text="其他设备")).to_be_visible()
        await expect(second.page.locator("[data-bridge]")).to_have_count(0)
        await street.wechat_bridge(second)
        await second.page.reload()
        await second.page.get_by_role("link", name="微信支付").click()
        for look in (first, second, computer):
            await expect(look.page.get_by_role("heading", name="付款成功")).to_be_visible()
    attempts = (await street.current(payment))["attempts"]
    assert [one["method"] for one in attempts] == ["jsapi", "jsapi"], "two payers, two orders"
    truth = await street.trades("wechat")
    assert [truth[one["reference"]]["charged_count"] for one in attempts] == [0, 1]


async def test_an_open_page_says_that_the_time_is_over(street: Street) -> None:
    payment = await street.payment(expires_in=60)
    canceled = await street.payment()
    async with street.look() as look, street.look(locale="en-GB") as other:
        await look.page.goto(payment["next_action"]["url"])
        await other.page.goto(canceled["next_action"]["url"])
        street.clock.forward(61)
        await expect(look.page.get_by_role("heading", name="付款已超时")).to_be_visible()
        await street.call("POST", f"/v1/payments/{canceled['id']}/close")
        await expect(other.page.get_by_role("heading", name="Canceled")).to_be_visible()
        await shot(other, "canceled")
        await other.page.get_by_role("link", name="中文").click()
        await expect(other.page.get_by_role("heading", name="订单已取消")).to_be_visible()


async def test_nothing_a_merchant_writes_becomes_part_of_a_page(street: Street) -> None:
    nasty = "\"><img src=x onerror=alert(1)>'{{ 7*7 }}</title><script>alert(2)</script>"
    payment = await street.payment(description=nasty)
    async with street.look() as look:
        await look.page.goto(payment["next_action"]["url"])
        await expect(look.page.get_by_text(nasty)).to_be_visible()
        await expect(look.page.locator("main img")).to_have_count(1)
        await expect(look.page.locator("script")).to_have_count(1)
        assert SHOP in await look.page.title()
        assert look.strangers(street.door) == []
        assert look.errors == []


async def test_what_gets_into_a_page_all_the_same_runs_nothing_and_reaches_nobody(street: Street) -> None:
    payment = await street.payment()
    async with street.look() as look:
        await look.page.goto(payment["next_action"]["url"])
        await look.page.evaluate(PLANTED)
        await expect(look.page.locator("#last-planted")).to_be_attached()
        assert await look.page.evaluate("window.planted") is None
        # The browser tells of what it did not send, too: these tests would notice what is asked for elsewhere.
        assert look.strangers(street.door) == ["https://elsewhere.example/x.png"]
        assert [one.failure for one in look.asked if one.url.startswith("https://elsewhere")] == ["csp"]
        assert len([said for said in look.errors if "Content Security Policy" in said]) >= 3


async def test_an_address_somebody_made_up_shows_nothing(street: Street) -> None:
    url = (await street.payment())["next_action"]["url"]
    async with street.look() as look:
        for wrong in (url[:-1] + ("0" if url[-1] != "0" else "1"), f"{street.door}/pay/nothing"):
            answer = await look.page.goto(wrong)
            assert answer is not None
            assert answer.status == 404
            await expect(look.page.get_by_role("heading", name="页面不存在")).to_be_visible()


async def test_a_page_without_scripts_can_be_paid_too(street: Street) -> None:
    payment = await street.payment()
    async with street.look(java_script_enabled=False) as look:
        await look.page.goto(payment["next_action"]["url"])
        await look.page.get_by_role("button", name="支付宝").click()
        await expect(look.page.get_by_role("heading", name="用支付宝扫码")).to_be_visible()
        await street.pays("alipay", payment)
        async with street.look() as other:  # waits for what this page, without scripts, is only told when it asks
            await other.page.goto(payment["next_action"]["url"])
            await expect(other.page.get_by_role("heading", name="付款成功")).to_be_visible()
        await look.page.reload()
        await expect(look.page.get_by_role("heading", name="付款成功")).to_be_visible()


async def test_a_page_is_used_by_keyboard_alone(street: Street) -> None:
    payment = await street.payment()
    async with street.look(PHONE, width=360, height=740) as look:
        await look.page.goto(payment["next_action"]["url"])
        await look.page.keyboard.press("Tab")
        await expect(look.page.get_by_role("link", name="跳到主要内容")).to_be_focused()
        for name in ("微信支付", "支付宝"):
            await look.page.keyboard.press("Tab")
            await expect(look.page.get_by_role("button", name=name)).to_be_focused()
        await look.page.keyboard.press("Enter")
        await look.page.get_by_role("button", name="支付 Pay").click()
        await expect(look.page.get_by_role("heading", name="付款成功")).to_be_visible()


async def test_a_payer_at_the_counter_types_the_amount_and_pays(street: Street) -> None:
    code = await street.call(
        "POST", "/v1/merchant_qrs", {"name": "counter", "description": "茶屋柜台", "currency": "CNY", "maximum": 50_000}
    )
    async with street.look(IN_ALIPAY, width=360, height=740) as look:
        page = look.page
        await page.goto(code["url"])
        await shot(look, "standing")
        assert (await look.width())[0] <= 360
        await page.get_by_label("付款金额").fill("600")
        await page.get_by_role("button", name="下一步").click()
        await expect(page.get_by_role("alert")).to_contain_text("¥500.00")
        await expect(page.get_by_label("付款金额")).to_have_value("600")
        await page.get_by_label("付款金额").fill("12.50")
        await page.get_by_role("button", name="下一步").click()
        await expect(page.get_by_text("¥12.50").first).to_be_visible()
        await page.get_by_role("button", name="支付宝").click()
        await page.get_by_role("button", name="支付 Pay").click()
        await expect(page.get_by_role("heading", name="付款成功")).to_be_visible()
        assert look.strangers(street.door, street.rails) == []


async def test_a_link_that_was_paid_says_so_and_takes_no_second_payment(street: Street) -> None:
    body = {"name": "order 7", "description": "明前龙井", "amount": 12_000, "currency": "CNY", "max_uses": 1}
    link = await street.call("POST", "/v1/payment_links", body)
    async with street.look() as look, street.look(locale="en-GB") as friend:
        await look.page.goto(link["url"])
        await shot(look, "link")
        await look.page.get_by_role("button", name="支付 ¥120.00").dblclick()
        await look.page.get_by_role("button", name="微信支付").click()
        await expect(look.page.get_by_role("heading", name="用微信支付扫码")).to_be_visible()
        (payment,) = [one for one in (await street.call("GET", "/v1/payments"))["data"] if one["amount"] == 12_000]
        await street.pays("wechat", payment)
        await expect(look.page.get_by_role("heading", name="付款成功")).to_be_visible()
        await friend.page.goto(link["url"])
        await expect(friend.page.get_by_role("heading", name="Paid")).to_be_visible()
        await street.call("PATCH", f"/v1/payment_links/{link['id']}", {"active": False})
        await friend.page.goto(link["url"])
        await expect(friend.page.get_by_role("heading", name="Closed")).to_be_visible()


async def test_a_payer_who_comes_back_later_reads_how_it_was_paid_and_what_went_back(street: Street) -> None:
    payment = await street.payment()
    async with street.look(locale="en-GB") as look:
        await look.page.goto(payment["next_action"]["url"])
        await look.page.get_by_role("button", name="Alipay").click()
        await street.pays("alipay", payment)
        await expect(look.page.get_by_role("heading", name="Paid")).to_be_visible()
        for given_back, heading in ((800, "Paid"), (8000, "Refunded")):
            await street.refunded(payment, given_back)
            await look.page.reload()
            await expect(look.page.get_by_role("heading", name=heading)).to_be_visible()
            facts = await look.page.locator("dl").inner_text()
            assert "Alipay" in facts
            assert {800: "¥8.00", 8000: "¥88.00"}[given_back] in facts


async def test_an_open_page_says_that_the_network_is_gone_and_follows_when_it_is_back(street: Street) -> None:
    payment = await street.payment()
    async with street.look() as look:
        page, gone = look.page, look.page.locator("#lost")
        await page.route("**/state?*", lambda route: route.abort())
        await page.goto(payment["next_action"]["url"])
        await expect(gone).to_have_text("网络连接中断，正在重试…")
        await expect(gone).to_be_visible()
        await page.unroute("**/state?*")
        await expect(gone).to_be_hidden()
        await street.call("POST", f"/v1/payments/{payment['id']}/close")
        await expect(page.get_by_role("heading", name="订单已取消")).to_be_visible()


async def test_a_page_that_changes_under_a_keyboard_keeps_its_place_and_says_what_is_new(street: Street) -> None:
    payment = await street.payment()
    async with street.look() as look:
        await look.page.goto(payment["next_action"]["url"])
        await look.page.get_by_role("button", name="支付宝").focus()
        await street.call("POST", f"/v1/payments/{payment['id']}/close")
        await expect(look.page.get_by_role("main")).to_be_focused()
        await expect(look.page.locator("#said")).to_have_text("订单已取消")


async def test_a_payer_abroad_reads_the_time_of_the_clock_on_the_wall(street: Street) -> None:
    payment = await street.payment(10**12)  # the largest amount there is stays on one line of the smallest phone
    until = datetime.fromisoformat(payment["expires_at"]).astimezone(ZoneInfo("America/New_York"))
    async with street.look(PHONE, width=360, locale="en-US", timezone_id="America/New_York") as look:
        await look.page.goto(payment["next_action"]["url"])
        await expect(look.page.get_by_text(f"Pay by {until:%H:%M}, your time")).to_be_visible()
        assert (await look.width())[0] <= 360
        amount = await look.page.locator(".amount").bounding_box()
        assert amount is not None
        assert amount["height"] < 40


async def test_where_there_is_nothing_to_choose_one_button_says_what_it_does(street: Street) -> None:
    payment = await street.payment(1250, method={"channel": "paypal"})
    for locale, does, title in (("zh-CN", "支付 ¥12.50", "用PayPal付款"), ("en-GB", "Pay ¥12.50", "Pay with PayPal")):
        async with street.look(PHONE, width=360, locale=locale) as look:
            await look.page.goto(payment["next_action"]["url"])
            (button,) = await look.page.get_by_role("button").all()
            assert (await button.inner_text()).startswith(does)
            assert title in await look.page.title()
            heading = await look.page.get_by_role("heading").bounding_box()
            assert heading is not None
            assert heading["width"] <= 1, "whoever listens is told where they are; nobody has to look at it"
    async with street.look(PHONE, width=360, locale="en-GB", java_script_enabled=False) as look:
        await look.page.goto(payment["next_action"]["url"])
        await look.page.get_by_role("button", name="Pay ¥12.50").click()
        await expect(look.page.get_by_role("link", name="Pay ¥12.50")).to_be_visible()
        assert "{" not in await look.page.title()


async def test_a_payer_sees_a_short_order_number_and_the_whole_one_on_request(street: Street) -> None:
    number = "A-2026-11-30-0000-1111-2222-3333-44445555666"
    payment = await street.payment(merchant_order_id=number)
    async with street.look(PHONE, width=360, locale="en-GB") as look:
        await look.page.goto(payment["next_action"]["url"])
        await expect(look.page.get_by_text("Order …45555666")).to_be_visible()
        whole = look.page.get_by_text(number)
        await expect(whole).to_be_hidden()
        await look.page.get_by_text("Order …45555666").click()
        await expect(whole).to_be_visible()


async def test_pages_grow_with_the_readers_letters_and_never_beyond_the_screen(street: Street) -> None:
    one = {"method": {"channel": "paypal"}}
    pages = [await street.payment(), await street.payment(123_456_789, **one), await street.payment(10**12, **one)]
    code = await street.call(
        "POST", "/v1/merchant_qrs", {"name": "counter", "description": "茶屋柜台", "currency": "CNY", "maximum": 50_000}
    )
    transfer = await street.payment(123_456_789, method={"channel": "bank_transfer"})
    async with street.look(PHONE, width=360, height=740, locale="en-GB") as look:
        page = look.page
        for url in (*(one["next_action"]["url"] for one in pages), code["url"], transfer["next_action"]["url"]):
            await page.goto(url)
            if url == transfer["next_action"]["url"]:
                await page.get_by_role("button", name="Bank transfer").click()
                await expect(page.get_by_role("heading", name="Transfer to this account")).to_be_visible()
            sizes = []
            for letters in ("100%", "200%"):
                await page.evaluate("(size) => { document.documentElement.style.fontSize = size; }", letters)
                sizes.append(await page.evaluate(TEXT_SIZES))
            assert sizes[1] == [2 * size for size in sizes[0]], url
            assert len(sizes[0]) > 3
            assert (await look.width())[0] <= 360, url
            assert await page.evaluate(CUT_OFF) == [], url
        await shot(look, "large-letters")


async def test_nothing_turns_for_a_reader_who_wants_no_motion(street: Street) -> None:
    turning = "document.getAnimations().length"
    for wish, expected in (("no-preference", 1), ("reduce", 0)):
        payment = await street.payment()
        for op in ("create", "query"):  # nothing is heard however often the hub asks, so that the page stays
            await street.control("faults", fault="answer_lost", rail="alipay", match={"op": op}, times=1_000)
        async with street.look(reduced_motion=wish) as look:
            await look.page.goto(payment["next_action"]["url"])
            await look.page.get_by_role("button", name="支付宝").click()
            await expect(look.page.get_by_role("heading", name="正在确认")).to_be_visible()
            assert await look.page.evaluate(turning) == expected
