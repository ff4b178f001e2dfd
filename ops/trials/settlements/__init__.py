"""`sluice settle trial`: days of orders, shared out at four levels and paid by two banks that make mistakes."""
