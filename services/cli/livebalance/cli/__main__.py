"""`livebalance …`."""

import logging
import sys

from livebalance.cli.commands import app
from livebalance.cli.words import joined
from livebalance.stack.trouble import Trouble


def main() -> None:
    """Exit 1 and one line for what failed, 2 for what was asked wrongly."""
    logging.disable()  # what libraries log is said in the one line, or is nothing to whoever typed this
    try:
        app(joined(sys.argv[1:]), prog_name="livebalance")
    except Trouble as trouble:
        sys.stderr.write(f"livebalance: {trouble}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
