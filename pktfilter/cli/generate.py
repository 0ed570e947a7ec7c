"""`pktfilter generate`."""

from __future__ import annotations

import click

from ..errors import OutputError
from ..generate_profiles import profiles
from . import UsageError

_FLOWS = ("zipf", "one", "per-packet")


@click.command(name="generate", context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("output")
@click.option(
    "-n", "--packets", default=1_000_000, type=click.IntRange(0), metavar="N", show_default=True,
    help="Packets to write.",
)  # fmt: skip
@click.option(
    "--profile",
    default="mix",
    type=click.Choice(sorted(profiles())),
    show_default=True,
    metavar="NAME",
    help=f"Sizes and protocols: {', '.join(sorted(profiles()))}.",
)
@click.option("--seed", default=0, type=click.IntRange(0), metavar="N", show_default=True,
              help="Another seed makes another capture.")  # fmt: skip
@click.option(
    "--flows",
    default="zipf",
    show_default=True,
    metavar="KIND|N",
    help=f"How packets fall to flows: {', '.join(_FLOWS)}, or a number of flows.",
)
@click.option("--nanosecond", is_flag=True, help="Write nanosecond pcap.")
@click.option("--rate", default=1_000_000, type=click.IntRange(1), metavar="N", show_default=True,
              help="Packets per second, for the timestamps.")  # fmt: skip
def generate_command(
    output: str, packets: int, profile: str, seed: int, flows: str, nanosecond: bool, rate: int
) -> None:
    """Writes a capture of generated packets to OUTPUT: the same one for the same options and seed."""
    from ..generate import generate

    if output == "-":
        raise UsageError("a capture is generated into a file", found="-", hint="name one")
    try:
        made = generate(
            output, packets=packets, profile=profile, seed=seed, flows=int(flows) if flows.isdecimal() else flows,
            format="pcap-ns" if nanosecond else "pcap", rate=rate,
        )  # fmt: skip
    except ValueError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", file=output) from error
    click.echo(f"{output}: {made.packets:,} packets, {made.bytes:,} bytes, sha256 {made.sha256}")
