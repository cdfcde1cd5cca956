"""`python -m zssr`."""

import sys

from zssr.cli import main

if __name__ == "__main__":
    sys.exit(main())
