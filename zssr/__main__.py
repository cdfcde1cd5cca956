"""`python -m zssr`."""

import sys

from zssr.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
