"""``python -m dugong`` is the command ``dugong``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
