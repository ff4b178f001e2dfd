"""`sluice bench`: what a payment costs, beside the least any handler costs, in one interleaved run."""
