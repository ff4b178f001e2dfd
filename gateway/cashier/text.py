"""Every sentence a payer reads, in each language. Pages hold no other words of ours."""

from collections.abc import Mapping
from datetime import datetime

from channels.registry import FACES
from kernel.clock import BEIJING
from kernel.money import Money

_SYMBOLS = {"CNY": "¥", "USD": "US$", "EUR": "€", "GBP": "£", "HKD": "HK$", "JPY": "JP¥"}
WORDS: Mapping[str, tuple[str, str]] = {
    # what every page has
    "pay_to": ("付款给", "Pay"),
    "skip": ("跳到主要内容", "Skip to content"),
    "other_language": ("English", "中文"),
    "number": ("订单号", "Order"),
    "title": ("收银台", "Checkout"),
    "pay_before": ("请在北京时间 {at} 前付款", "Pay by {at}, Beijing time (UTC+8)"),
    "pay_before_here": ("请在当地时间 {at} 前付款", "Pay by {at}, your time"),
    "time_left": ("剩余", "Time left"),
    "busy": ("请稍候…", "One moment…"),
    "lost": ("网络连接中断，正在重试…", "No connection. Trying again…"),
    # choose
    "choose": ("选择付款方式", "Choose how to pay"),
    "scan_page": ("用手机扫码付款", "Scan with your phone to pay"),
    "scan_page_with": ("可用{rails}扫码", "Works with {rails}"),
    "scan_page_alt": ("付款页面的二维码，请用手机扫描", "QR code of this page, to scan with your phone"),
    "or_choose": ("或选择付款方式", "Or choose how to pay"),
    "or_here": ("或在这里付款", "Or pay here"),
    "pay_amount": ("支付 {amount}", "Pay {amount}"),
    "way_and_how": ("{rail} · {how}", "{rail} · {how}"),
    "by_qr": ("扫码", "Scan a code"),
    "by_page": ("前往付款网页", "On its website"),
    "by_h5": ("打开应用付款", "Opens the app"),
    "by_jsapi": ("在应用内付款", "In this app"),
    "by_transfer": ("查看收款账户", "To an account number"),
    "no_ways": (
        "这里暂时没有可用的付款方式。请换一台设备或浏览器打开本页，或联系商家。",
        "There is no way to pay here just now. Open this page on another device or ask the shop.",
    ),
    "app_blocked": (
        "此应用内无法使用该商家的付款方式，请用手机浏览器打开本页。",
        "This shop cannot be paid inside this app. Open this page in your phone's browser.",
    ),
    # notes
    "declined": (
        "本次付款未成功，未扣款。请重试，或换一种付款方式。",
        "That did not work and nothing was charged. Try again or choose another way.",
    ),
    "elsewhere": (
        "您已在其他设备或应用中发起付款，可在那里完成，也可在此重新选择。",
        "A payment was started somewhere else. Finish it there, or choose again here.",
    ),
    "run_out": (
        "付款链接已失效。请重试，或换一种付款方式。",
        "The link to pay has run out. Try again to get a new one, or choose another way.",
    ),
    "unavailable": ("此付款方式暂不可用，请换一种。", "This is not available just now. Please choose another way."),
    "too_many": (
        "尝试次数过多，请向商家索取新的付款链接。",
        "Too many tries. Please ask the shop for a new payment link.",
    ),
    "no_payer": ("未能获取付款人信息，请重试。", "The app did not say who you are. Please try again."),
    "again": ("正在处理上一次操作，请稍候。", "Your last step is still in progress. One moment, please."),
    "undecided": (
        "上一次付款的结果尚未确认，可能已扣款。请稍候，暂勿换其他方式付款。",
        "We do not know yet whether your last try was paid; it may have been. Please wait a moment before you pay "
        "another way.",
    ),
    # code
    "scan": ("用{rail}扫码", "Scan with {rail}"),
    "scan_alt": ("{rail}付款二维码", "QR code for {rail}"),
    "scan_hint": ("付款后本页会自动更新", "This page updates by itself once you have paid"),
    "other_way": ("换一种付款方式", "Choose another way"),
    # leave, bridge
    "pay_with": ("用{rail}付款", "Pay with {rail}"),
    "leave_hint": ("付款后请返回本页", "Come back to this page when you are done"),
    "bridge_canceled": ("尚未付款，您可以再试一次。", "Not paid yet. You can try again."),
    # transfer
    "transfer": ("请转账至以下账户", "Transfer to this account"),
    "account": ("账号", "Account"),
    "account_name": ("户名", "Name"),
    "bank": ("银行", "Bank"),
    "bic": ("BIC", "BIC"),
    "amount": ("金额", "Amount"),
    "copy": ("复制", "Copy"),
    "copied": ("已复制", "Copied"),
    "transfer_hint": (
        "此账号仅用于本次付款，转账金额须与此处一致。到账后本页会自动更新。",
        "Only for this payment; the amount must match. This page updates by itself once the money has arrived.",
    ),
    # wait
    "wait": ("正在确认", "Checking"),
    "wait_hint": (
        "正在等待付款结果，请留在本页，不要重复付款。",
        "Waiting for the result. Please stay on this page, and do not pay twice.",
    ),
    # check
    "check": ("正在查询付款结果…", "Checking your payment…"),
    "check_hint": (
        "稍等片刻，本页会自动更新。请不要重复付款。",
        "This takes a moment; the page updates by itself. Please do not pay twice.",
    ),
    # done
    "paid": ("付款成功", "Paid"),
    "paid_hint": ("您可以关闭本页", "You can close this page"),
    "refunded": ("已退款", "Refunded"),
    "refunded_hint": ("款项已原路退回", "The money went back the way it was paid"),
    "paid_with": ("付款方式", "Paid with"),
    "paid_at": ("付款时间", "Paid at"),
    "at_in_beijing": ("北京时间 {at}", "{at}, Beijing time (UTC+8)"),
    "charged": ("实付金额", "Charged"),
    "given_back": ("已退金额", "Refunded"),
    "reserved": ("预授权成功", "Authorised"),
    "reserved_hint": ("款项已冻结，商家确认后才会扣款", "The amount is reserved, and charged when the shop confirms"),
    "failed": ("付款未成功", "Not paid"),
    "failed_hint": ("未扣款。请返回商家重新下单。", "Nothing was charged. Please order again at the shop."),
    "canceled": ("订单已取消", "Canceled"),
    "canceled_hint": ("商家已取消本次付款，未扣款。", "The shop has canceled this payment. Nothing was charged."),
    "expired": ("付款已超时", "Expired"),
    "expired_hint": (
        "已超过付款时限，未扣款。请返回商家重新下单。",
        "The time to pay is over. Nothing was charged. Please order again at the shop.",
    ),
    "returning": ("款项正在退回", "Your money is on its way back"),
    "returning_hint": (
        "款项到账时订单已结束，将自动原路退回。",
        "It arrived after the order had ended, and is being returned the way it was paid.",
    ),
    "back": ("返回商家", "Back to the shop"),
    # links and standing codes
    "how_much": ("付款金额", "Amount"),
    "amount_hint": ("单笔 {least} 至 {most}", "From {least} to {most}"),
    "amount_at_least": ("单笔至少 {least}", "At least {least}"),
    "amount_wrong": ("请输入正确的金额，例如 {example}", "Please enter an amount such as {example}"),
    "amount_out": ("金额须在 {least} 至 {most} 之间", "The amount must be between {least} and {most}"),
    "sure": ("金额与上次输入的不同，请再次确认。", "This is not the amount you entered before. Please confirm it."),
    "next": ("下一步", "Continue"),
    "link_closed": ("已停止收款", "Closed"),
    "link_closed_hint": ("商家已停用此链接或收款码。", "The shop no longer uses this link or code."),
    "link_suspended": ("暂停收款", "Not in use at the moment"),
    "link_suspended_hint": (
        "此链接或收款码已暂停使用，请联系商家。已经开始的付款不受影响。",
        "This link or code takes no payments for now. Please ask the shop. A payment you have begun is not affected.",
    ),
    "link_expired": ("链接已过期", "This link has expired"),
    "link_expired_hint": ("请向商家索取新的链接。", "Please ask the shop for a new one."),
    "link_used_up": ("链接已使用", "This link has been used"),
    "link_used_up_hint": (
        "可用次数已用完。如仍需付款，请联系商家。",
        "It cannot be used again. If you still need to pay, please ask the shop.",
    ),
    # errors
    "not_found": ("页面不存在", "Page not found"),
    "not_found_hint": (
        "链接可能不完整，请向商家索取新的链接。",
        "The link may be incomplete. Please ask the shop for a new one.",
    ),
    "sorry": ("暂时无法显示", "Something went wrong"),
    "sorry_hint": (
        "请稍后再试。若已付款，请不要重复付款。",
        "Please try again shortly. If you have paid, please do not pay again.",
    ),
    "quote": ("咨询时请提供", "Please quote"),
}


class Say:
    """The words of one language."""

    def __init__(self, language: str) -> None:
        self.language = language
        self._place = 0 if language == "zh" else 1

    @property
    def tag(self) -> str:
        """The language as HTML names it."""
        return "zh-Hans" if self.language == "zh" else "en"

    def __call__(self, name: str, **values: str) -> str:
        """Return a sentence. Raises KeyError for one that is not there."""
        text = WORDS[name][self._place]
        return text.format(**values) if values else text

    def knows(self, name: str) -> bool:
        return name in WORDS

    def rail(self, channel: str) -> str:
        """Return what payers call a rail; of one nobody told us of, its name."""
        face = FACES.get(channel)
        return face.names[self._place] if face else channel.replace("_", " ").title()

    def how(self, channel: str, method: str) -> str:
        """Return how one pays there by that method: in the rail's own words, where it has some."""
        face = FACES.get(channel)
        own = face.how.get(method) if face else None
        return own[self._place] if own else self(f"by_{method}")

    def several(self, names: list[str]) -> str:
        """Return names in a row."""
        if self.language == "zh" or len(names) < 2:
            return "、".join(names)
        return f"{', '.join(names[:-1])} or {names[-1]}"

    def money(self, minor: int, currency: str) -> str:
        """Return an amount as people read it: ¥1,234.50."""
        major = Money(minor, currency).major()
        whole, point, decimals = major.partition(".")
        return f"{self.symbol(currency)}{int(whole):,}{point}{decimals}"

    def symbol(self, currency: str) -> str:
        """Return what stands before an amount."""
        return _SYMBOLS.get(currency, f"{currency} ")

    def moment(self, at: datetime) -> str:
        """Return a time of day by Beijing's clock, where the rails' days are."""
        return at.astimezone(BEIJING).strftime("%H:%M")

    def day_and_moment(self, at: datetime) -> str:
        """Return a day and a time by Beijing's clock, and that it is that clock."""
        return self("at_in_beijing", at=at.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M"))
