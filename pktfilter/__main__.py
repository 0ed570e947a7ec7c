"""The command `pktfilter`, and `python -m pktfilter`."""

import gc
import signal

#: What a start-up allocates lives as long as the process: looking for garbage in it is a tenth of
#: a short command's time.
_GC_THRESHOLD = 100_000


def main() -> None:
    """The command line. Ctrl-C while it is being imported ends the process without a word."""
    gc.set_threshold(_GC_THRESHOLD, 10, 10)
    quiet = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not where it is ignored
    if quiet:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from .cli import main as run

    if quiet:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run()
    finally:
        gc.freeze()  # the end of the process frees all memory at once, and needs no search for cycles


if __name__ == "__main__":
    main()
