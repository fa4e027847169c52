"""`python -m srnn` is the command line."""

from srnn.cli import run

run()
