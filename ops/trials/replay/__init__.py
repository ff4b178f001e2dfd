"""`sluice replay`: a trading day, from the first order to the reconciled bank statement."""
