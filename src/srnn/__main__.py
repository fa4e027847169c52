"""`python -m srnn` is the command line."""

import sys

from srnn.cli import main

sys.exit(main())
