"""`python -m pktfilter`."""

from .cli import main

main()
