"""`pktfilter report`."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..errors import InputError, OutputError


def _write(path: str, text: str) -> None:
    target = Path(path)
    try:
        if target.exists() and not target.is_file():  # /dev/stdout, a pipe
            target.write_text(text, encoding="utf-8")
            return
        beside = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(target)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", file=path) from error


@click.command(name="report", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to write. [default: report.html; Markdown: standard output]",
)
@click.option("--markdown", "as_markdown", is_flag=True, help="Write Markdown.")
@click.option(
    "--picture", metavar="FILE", help="Write the main ratios as a picture (SVG) of its own, too."
)
def report_command(
    files: tuple[str, ...], output: str | None, as_markdown: bool, picture: str | None
) -> None:
    """Makes one page of the results of `pktfilter bench -o FILE`.

    The last FILE is shown in full; of several, each is compared with the one before it, with a verdict on
    whether a difference means anything. The page needs nothing beside it: no script, no network.
    """
    from ..benchmarks.model import load_run

    runs = [load_run(name) for name in files]
    if as_markdown:
        from ..benchmarks.markdown import markdown

        text = markdown(runs)
    else:
        from ..benchmarks.page import page

        text = page(runs)
    if picture is not None:
        from ..benchmarks import svg, view

        rows = [row for row in view.ratio_rows(runs[-1]) if row.ratio.main]
        if not rows:
            raise InputError("the results have no main ratio to draw", file=files[-1])
        run = runs[-1]
        facts = (run.machine.get("processor", ""), run.machine.get("kernel", ""), run.created[:10])
        caption = ", ".join(["medians", *filter(None, facts)])
        if any("busy" in text for text in run.warnings):
            caption += "; the machine was busy"
        _write(picture, svg.main_picture(rows, caption) + "\n")
    if as_markdown and output is None:
        click.echo(text, nl=False)
        return
    _write(output or "report.html", text)
    click.echo(
        f"{output or 'report.html'}: {len(runs[-1].benchmarks)} benchmarks of {len(runs)} run{'s' * (len(runs) > 1)}"
    )
