"""`python -m harness.cli`, for where the console script is not on the path."""

from harness.cli import main

main()
