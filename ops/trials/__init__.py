"""What is tried by hand or by a bench 试运行: a replayed day, the benches, one call to a channel."""
