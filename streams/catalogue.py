"""The event catalogue 事件目录: every type of event, what it says, and who listens inside the hub."""

EVENTS = {
    # type: (what it says, our own listeners)
    "payment.created": ("a payment was accepted and is about to go to a channel", ()),
    "payment.requires_action": ("the payer has something to do, see next_action", ()),
    "payment.succeeded": ("the money was captured", ("splitting",)),
    "payment.failed": ("the channel refused it, finally", ()),
    "payment.canceled": ("closed before anyone paid", ()),
    "payment.expired": ("nobody paid in time", ()),
    "payment.late": ("paid after it had been closed; the money was booked and goes back by itself", ()),
    "refund.created": ("a refund was accepted and its money reserved", ()),
    "refund.succeeded": ("the payer has the money back", ()),
    "refund.failed": ("the channel refused it; the money is where it was", ()),
    "split.posted": ("the payment's money was shared out among its payees", ()),
    "payee.created": ("a payee was registered", ()),
    "settlement.created": ("a batch of instructions for a bank was made", ()),
    "settlement.sent": ("the bank has the batch", ()),
    "settlement.line_paid": ("the bank credited a payee's sub-account", ()),
    "settlement.line_refused": ("the bank refused a line; the share is owed again", ()),
    "settlement.finished": ("every line of the batch is paid or refused", ()),
    "channel_account.added": ("a channel account was added", ()),
    "channel_account.changed": ("its terms, its position or its state were changed", ()),
    "channel_account.rotated": ("new credentials were put into use", ()),
    "channel.deposited": ("the channel's net of a day arrived at the bank", ()),
}
