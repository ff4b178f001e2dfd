"""The chart of accounts 科目表 of a book. Assets on the left, liabilities on the right; one currency an account."""

from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple


class Side(StrEnum):
    """The side on which an account normally stands."""

    DEBIT = "debit"  # 借: assets, what others owe the book
    CREDIT = "credit"  # 贷: liabilities, what the book owes others


class AccountKind(StrEnum):
    """The kinds of account; what stands before the first colon of an account's name."""

    CHANNEL = "channel"  # 应收渠道款: due from a channel account
    BANK = "bank"  # 备付金: custody at a bank, mirrors its pool and sub-accounts
    BANK_ACCOUNT = "bank_account"  # 功能账户: custody on an account at a bank that is for one role; not in BANK
    IN_TRANSIT = "in_transit"  # 在途: instructed to a bank, not yet confirmed
    RAIL_TRANSIT = "rail_transit"  # 渠道分账在途: a channel was told to share it out, not yet confirmed
    MERCHANT = "merchant"  # 商户待分账款: captured, not yet shared out
    PAYEE = "payee"  # 应付收款方: a payee's share, owed
    SUB_ACCOUNT = "sub_account"  # 子账户: mirror of a payee's account at the bank
    PLATFORM_FEE = "platform_fee"  # 平台手续费: the only account the platform itself owns; fees alone reach it
    REFUND_COST = "refund_cost"  # 退款成本: fees that channels keep of refunds and chargebacks; no share bears them
    MERCHANT_COUPON = "merchant_coupon"  # 商户优惠: parts of payments that the merchant's own coupons paid
    INTEREST = "interest"  # 利息: what a bank paid on what is in custody there
    BANK_CHARGE = "bank_charge"  # 银行手续费: what a bank took of custody; no share bears it
    SUSPENSE = "suspense"  # 挂账: facts nobody can explain yet


class Nature(NamedTuple):
    side: Side
    may_overdraw: bool
    chinese: str


NATURE = {
    # A channel's refunds of a day may exceed its payments; it then owes less than nothing until the next day.
    AccountKind.CHANNEL: Nature(Side.DEBIT, True, "应收渠道款"),
    AccountKind.BANK: Nature(Side.DEBIT, True, "备付金"),
    # A bank takes its charges whether or not there is anything.
    AccountKind.BANK_ACCOUNT: Nature(Side.DEBIT, True, "功能账户"),
    AccountKind.IN_TRANSIT: Nature(Side.CREDIT, False, "在途"),
    AccountKind.RAIL_TRANSIT: Nature(Side.CREDIT, False, "渠道分账在途"),
    AccountKind.MERCHANT: Nature(Side.CREDIT, False, "商户待分账款"),
    # A refund after the payee was paid leaves a debt, taken from the next shares (docs/decisions/0005).
    AccountKind.PAYEE: Nature(Side.CREDIT, True, "应付收款方"),
    AccountKind.SUB_ACCOUNT: Nature(Side.CREDIT, False, "子账户"),
    AccountKind.PLATFORM_FEE: Nature(Side.CREDIT, True, "平台手续费"),
    AccountKind.REFUND_COST: Nature(Side.DEBIT, False, "退款成本"),
    AccountKind.MERCHANT_COUPON: Nature(Side.DEBIT, False, "商户优惠"),
    AccountKind.INTEREST: Nature(Side.CREDIT, False, "利息"),
    AccountKind.BANK_CHARGE: Nature(Side.DEBIT, False, "银行手续费"),
    AccountKind.SUSPENSE: Nature(Side.CREDIT, True, "挂账"),
}


@lru_cache(maxsize=4096)
def name(kind: AccountKind, currency: str, owner: str = "") -> str:
    """Return an account's name: kind, owner where it has one, currency; for example `payee:pye_0193…:CNY`."""
    return f"{kind}:{owner}:{currency}" if owner else f"{kind}:{currency}"


def kind_of(account: str) -> AccountKind:
    """Return the kind of an account from its name. Raises ValueError."""
    return AccountKind(account.partition(":")[0])


def channel(account: str, currency: str) -> str:
    return name(AccountKind.CHANNEL, currency, account)


def bank(bank_name: str, currency: str) -> str:
    return name(AccountKind.BANK, currency, bank_name)


def bank_account(bank_name: str, role: str, currency: str) -> str:
    return name(AccountKind.BANK_ACCOUNT, currency, f"{bank_name}.{role}")


def in_transit(bank_name: str, currency: str) -> str:
    return name(AccountKind.IN_TRANSIT, currency, bank_name)


def rail_transit(account: str, currency: str) -> str:
    return name(AccountKind.RAIL_TRANSIT, currency, account)


def merchant(currency: str) -> str:
    return name(AccountKind.MERCHANT, currency)


def payee(payee_id: str, currency: str) -> str:
    return name(AccountKind.PAYEE, currency, payee_id)


def sub_account(payee_id: str, currency: str) -> str:
    return name(AccountKind.SUB_ACCOUNT, currency, payee_id)


def platform_fee(currency: str, payee_id: str = "") -> str:
    """Return the platform's account of a currency. payee_id: of its payee that has one to itself; '': the book's."""
    return name(AccountKind.PLATFORM_FEE, currency, payee_id)


def refund_cost(currency: str) -> str:
    return name(AccountKind.REFUND_COST, currency)


def merchant_coupon(currency: str) -> str:
    return name(AccountKind.MERCHANT_COUPON, currency)


def interest(bank_name: str, currency: str) -> str:
    return name(AccountKind.INTEREST, currency, bank_name)


def bank_charge(bank_name: str, currency: str) -> str:
    return name(AccountKind.BANK_CHARGE, currency, bank_name)


def suspense(currency: str) -> str:
    return name(AccountKind.SUSPENSE, currency)
