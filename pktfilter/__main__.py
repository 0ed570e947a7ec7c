"""The command `pktfilter`, and `python -m pktfilter`."""

import signal


def main() -> None:
    """The command line. Ctrl-C while it is being imported ends the process without a word."""
    quiet = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where it is ignored
    if quiet:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .cli import main as run

    if quiet:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
