"""Posting rules 记账规则: one row for each thing that happens. An accountant can sign this table.

Every posting of the hub names a row here and nothing else moves money in a book.
"""

from typing import NamedTuple

from ledger.accounts import AccountKind as A


class Rule(NamedTuple):
    """What a business event debits and credits, and what it means."""

    debit: A
    credit: A
    meaning: str


# fmt: off
RULES = {  #                       debit 借        credit 贷
    "payment_captured":       Rule(A.CHANNEL,      A.MERCHANT,     "支付成功: the channel owes what the payer paid"),
    "channel_fee":            Rule(A.MERCHANT,     A.CHANNEL,      "渠道手续费: kept by the channel"),
    "merchant_coupon":        Rule(A.MERCHANT_COUPON, A.CHANNEL,   "商户优惠: paid by the merchant's own coupon"),
    "share":                  Rule(A.MERCHANT,     A.PAYEE,        "分账: a payee's share of a payment"),
    "commission":             Rule(A.MERCHANT,     A.PLATFORM_FEE, "平台手续费: the platform's fee"),
    "share_taken_back":       Rule(A.PAYEE,        A.MERCHANT,     "分账回退: a payee gives back its part of a refund"),
    "commission_taken_back":  Rule(A.PLATFORM_FEE, A.MERCHANT,     "手续费回退: so does the platform"),
    "channel_fee_returned":   Rule(A.CHANNEL,      A.MERCHANT,     "退还手续费: the channel gives back its part"),
    "refund":                 Rule(A.MERCHANT,     A.CHANNEL,      "退款: held when asked for, posted when confirmed"),
    "refund_returned":        Rule(A.CHANNEL,      A.MERCHANT,     "退款退回: what was refunded could not be paid out"),
    "merchant_coupon_back":   Rule(A.CHANNEL,   A.MERCHANT_COUPON, "优惠退回: a refund's part that a coupon had paid"),
    "refund_beyond":          Rule(A.SUSPENSE,     A.CHANNEL,      "多退: paid back by a channel, borne by nobody"),
    "channel_fee_kept":       Rule(A.MERCHANT,     A.CHANNEL,      "a refund failed: the channel's fee stands again"),
    "refund_cost":            Rule(A.REFUND_COST,  A.MERCHANT,     "退款不退手续费: the channel keeps its fee"),
    "refund_cost_undone":     Rule(A.MERCHANT,     A.REFUND_COST,  "a refund failed: its fee is a payment's again"),
    "refund_cost_borne":      Rule(A.PAYEE,        A.MERCHANT,     "商户承担退款成本: the merchant bears it"),
    "refund_cost_given_back": Rule(A.MERCHANT,     A.PAYEE,        "a refund failed: it is not borne after all"),
    "chargeback":             Rule(A.MERCHANT,     A.CHANNEL,      "拒付: taken by the channel for the payer"),
    "chargeback_beyond":      Rule(A.SUSPENSE,     A.CHANNEL,      "拒付超额: taken, of money that had gone back"),
    "chargeback_charged":     Rule(A.MERCHANT,     A.SUSPENSE,     "拒付补扣: borne after all by its payment"),
    "chargeback_fee":         Rule(A.REFUND_COST,  A.CHANNEL,      "拒付手续费: what the channel keeps for it"),
    "chargeback_fee_borne":   Rule(A.PAYEE,        A.CHANNEL,      "商户承担拒付手续费: the merchant bears it"),
    "chargeback_won":         Rule(A.CHANNEL,      A.MERCHANT,     "拒付撤回: the merchant has won it"),
    "chargeback_beyond_back": Rule(A.CHANNEL,      A.SUSPENSE,     "拒付超额撤回: likewise"),
    "chargeback_fee_back":    Rule(A.CHANNEL,      A.REFUND_COST,  "拒付手续费退还: the channel gives its fee back"),
    "chargeback_fee_repaid":  Rule(A.CHANNEL,      A.PAYEE,        "拒付手续费退还商户: it is not borne after all"),
    "channel_deposit":        Rule(A.BANK,         A.CHANNEL,      "渠道到账: the channel paid its net into the bank"),
    "channel_withdrawal":     Rule(A.CHANNEL,      A.BANK,         "渠道扣款: refunds exceeded payments"),
    "settlement_sent":        Rule(A.PAYEE,        A.IN_TRANSIT,   "结算在途: a bank was told to pay a payee"),
    "commission_sent":        Rule(A.PLATFORM_FEE, A.IN_TRANSIT,   "手续费结算在途: or the platform"),
    "settlement_paid":        Rule(A.IN_TRANSIT,   A.SUB_ACCOUNT,  "结算成功: the bank credited the sub-account"),
    "settlement_refused":     Rule(A.IN_TRANSIT,   A.PAYEE,        "结算失败: refused, so owed again"),
    "commission_refused":     Rule(A.IN_TRANSIT,   A.PLATFORM_FEE, "手续费结算失败: likewise for the platform"),
    "settlement_returned":    Rule(A.SUB_ACCOUNT,  A.PAYEE,        "退票: a payout came back, so owed again"),
    "commission_returned":    Rule(A.SUB_ACCOUNT,  A.PLATFORM_FEE, "手续费退票: likewise for the platform"),
    "recall":                 Rule(A.PAYEE,        A.SUB_ACCOUNT,  "追回冻结: held; posted if the bank paid after all"),
    "commission_recall":      Rule(A.PLATFORM_FEE, A.SUB_ACCOUNT,  "手续费追回冻结: likewise for the platform"),
    "share_to_rail":          Rule(A.PAYEE,        A.RAIL_TRANSIT, "渠道分账在途: the channel is to pay a share out"),
    "commission_to_rail":     Rule(A.PLATFORM_FEE, A.RAIL_TRANSIT, "渠道分账在途: or the platform's fee"),
    "share_paid_by_rail":     Rule(A.RAIL_TRANSIT, A.CHANNEL,      "渠道分账成功: the channel paid it, so owes less"),
    "share_off_rail":         Rule(A.RAIL_TRANSIT, A.PAYEE,        "渠道分账关闭: it did not, so owed again"),
    "commission_off_rail":    Rule(A.RAIL_TRANSIT, A.PLATFORM_FEE, "渠道分账关闭: likewise for the platform"),
    "share_fetched_back":     Rule(A.CHANNEL,      A.PAYEE,        "渠道分账回退: the channel fetched a share back"),
    "commission_fetched_back": Rule(A.CHANNEL,     A.PLATFORM_FEE, "渠道分账回退: or the platform's fee"),
    "bank_interest":          Rule(A.BANK,         A.INTEREST,     "银行结息: the bank paid interest on custody"),
    "bank_charge":            Rule(A.BANK_CHARGE,  A.BANK,         "银行收费: the bank took a charge of its own"),
    "account_interest":       Rule(A.BANK_ACCOUNT, A.INTEREST,     "结息入户: paid into the account for interest"),
    "account_charge":         Rule(A.BANK_CHARGE,  A.BANK_ACCOUNT, "收费出户: taken from the account for fees"),
    "to_bank_account":        Rule(A.BANK_ACCOUNT, A.BANK,         "划入功能账户: from the pool account to it"),
    "from_bank_account":      Rule(A.BANK,         A.BANK_ACCOUNT, "划回备付金户: and back"),
    "withdrawal":             Rule(A.SUB_ACCOUNT,  A.BANK,         "提现: held when asked for, posted when paid"),
    "withdrawal_returned":    Rule(A.BANK,         A.SUB_ACCOUNT,  "提现退票: it came back to the payee's sub-account"),
    "unidentified_in":        Rule(A.BANK,         A.SUSPENSE,     "不明来款挂账: money came, and nobody knows whose"),
    "unidentified_out":       Rule(A.SUSPENSE,     A.BANK,         "不明付款挂账: money went, or what came went back"),
    "suspense_to_channel":    Rule(A.SUSPENSE,     A.CHANNEL,      "挂账转渠道: it turns out a channel's payment"),
    "channel_to_suspense":    Rule(A.CHANNEL,      A.SUSPENSE,     "渠道转挂账: or what a channel had taken"),
}
# fmt: on

# 二清: the platform's own account may be reached by these events only; checked by an invariant.
PLATFORM_EVENTS = frozenset(n for n, rule in RULES.items() if A.PLATFORM_FEE in (rule.debit, rule.credit))
