"""`python -m ops.cli …` is `sluice …`."""

from ops.cli import main

main()
