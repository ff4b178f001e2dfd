"""Having a rail share a payment's money out itself 渠道分账, where its rules allow."""
