"""The entry point of `livebalance`."""

import logging
import sys

from livebalance.cli.commands import app, join_transfers
from livebalance.cli.errors import UserError
from livebalance.runtime.errors import SettingsError
from livebalance.stack.errors import StackError


def main() -> None:
    """Runs a command. An error is printed on a single line; exit code 1: it failed, 2: wrong settings."""
    logging.disable()  # what libraries log would only repeat the error line
    try:
        app(join_transfers(sys.argv[1:]), prog_name="livebalance")
    except SettingsError as error:
        sys.stderr.writelines(f"livebalance: {line}\n" for line in error.lines)
        raise SystemExit(2) from None
    except (UserError, StackError) as error:  # StackError: the addresses of the demo cannot be read
        sys.stderr.write(f"livebalance: {error}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
