"""``python -m dlrun`` is the ``dlrun`` command."""

import sys

from dlrun.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
