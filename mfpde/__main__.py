"""``python -m mfpde`` is the command ``mfpde``."""

import sys

from mfpde.cli.main import entry

sys.exit(entry())
