"""The command `l2s`, also `python -m l2s`. A signal during its imports, which take a second, ends it in one line."""

import gc
import os
import signal
import sys


def main(argv: list[str] | None = None) -> int:
    """Run the command line; see `l2s.cli.main`."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    try:
        from l2s import cli
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is not installed; run `pip install -c constraints.txt .` in the checkout")
    try:
        return cli.main(argv)
    finally:
        gc.freeze()  # or Python would look through all of torch once more before it ends


def _end(number: int, frame: object) -> None:
    """Say so and leave: nothing is open yet, and a module that is being imported could catch an exception."""
    os.write(2, b"\nl2s: interrupted; the same command resumes here\n")
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
