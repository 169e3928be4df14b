"""The entry point of `livebalance`."""

import logging
import os
import sys

from livebalance.cli.commands import app, join_transfers
from livebalance.cli.errors import UserError
from livebalance.runtime.errors import SettingsError, os_error_text
from livebalance.runtime.redact import one_line
from livebalance.stack.errors import StackError


def main() -> None:
    """Runs a command. An error is printed on a single line; exit code 1: it failed, 2: wrong settings."""
    logging.disable()  # what libraries log would only repeat the error line
    try:
        try:
            app(join_transfers(sys.argv[1:]), prog_name="livebalance")
        finally:
            sys.stdout.flush()
    except SettingsError as error:
        sys.stderr.writelines(f"livebalance: {line}\n" for line in error.lines)
        raise SystemExit(2) from None
    except (UserError, StackError) as error:  # StackError: the addresses of the demo cannot be read
        sys.stderr.write(f"livebalance: {one_line(str(error))}\n")
        raise SystemExit(1) from None
    except OSError as error:  # of standard output, such as a full disk
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Python flushes again as it ends
        if not isinstance(error, BrokenPipeError):
            sys.stderr.write(f"livebalance: {one_line(os_error_text(error))}\n")
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
