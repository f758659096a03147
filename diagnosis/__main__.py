"""`python -m diagnosis`."""

from diagnosis.cli import main

main()
