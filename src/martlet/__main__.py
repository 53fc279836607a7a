"""`python -m martlet` is the command `martlet`."""

from martlet.cli import main

main()
