"""The second-clearing guard 二清: no account that the platform owns ever holds what belongs to clients."""
