"""Settlement 结算: deposits that arrived, the batches in which payees are paid, what a person decides about them."""
