"""Split plans 分账方案: who gets which part of an amount. Pure."""
