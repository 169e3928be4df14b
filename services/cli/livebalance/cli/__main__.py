"""`livebalance …`."""

import logging
import sys

from livebalance.cli.commands import app
from livebalance.cli.errors import UserError
from livebalance.cli.words import joined
from livebalance.runtime.errors import SettingsError
from livebalance.stack.errors import StackError


def main() -> None:
    """Exit 1 and one line for what failed, 2 for what was asked wrongly, a line for each wrong setting."""
    logging.disable()  # what libraries log is said in the one line, or is nothing to whoever typed this
    try:
        app(joined(sys.argv[1:]), prog_name="livebalance")
    except SettingsError as wrong:
        sys.stderr.writelines(f"livebalance: {line}\n" for line in wrong.lines)
        raise SystemExit(2) from None
    except (UserError, StackError) as error:  # Trouble: the addresses of the demo cannot be read
        sys.stderr.write(f"livebalance: {error}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
