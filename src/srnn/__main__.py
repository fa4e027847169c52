"""`python -m srnn` is the command line."""

from srnn.cli.main import run

run()
