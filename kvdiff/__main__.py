"""`python -m kvdiff` is the command `kvdiff`, of this Python."""

from kvdiff.cli import main

main()
