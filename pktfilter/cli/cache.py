"""`pktfilter cache`."""

from __future__ import annotations

import json

import click

from ..errors import OutputError
from ..jit import cache


@click.command(name="cache", context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--clear", is_flag=True, help="Remove every compiled program.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def cache_command(clear: bool, as_json: bool) -> None:
    """Shows where compiled programs are kept, how many, and whether the cache is on, or why not.

    \b
    PKTFILTER_CACHE       the directory, or "off"  [default: $XDG_CACHE_HOME/pktfilter, ~/.cache/pktfilter]
    PKTFILTER_CACHE_SIZE  MiB at most              [default: 256]
    """
    removed = None
    if clear:
        try:
            removed = cache.clear()
        except OSError as error:
            raise OutputError(
                f"the cache cannot be cleared: {error.strerror or error}", file=error.filename
            ) from None
    found = cache.status()
    if as_json:
        shown = {
            "path": found.path,
            "on": found.on,
            "reason": found.reason,
            "entries": found.entries,
            "bytes": found.bytes,
            "limit": found.limit,
        }
        click.echo(json.dumps(shown if removed is None else {**shown, "removed": removed}))
        return
    click.echo(f"path     {found.path or '-'}")
    click.echo(f"state    {'on' if found.on else f'off: {found.reason}'}")
    if found.on:
        click.echo(f"entries  {found.entries}")
        click.echo(f"bytes    {found.bytes} of at most {found.limit}")
    if removed is not None:
        click.echo(f"removed  {removed}")
