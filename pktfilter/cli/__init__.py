"""The command line: `pktfilter COMMAND`. Commands are imported when they are called."""

from __future__ import annotations

import importlib
import io
import os
import sys
from typing import NoReturn

import click

from ..errors import InputError, PktfilterError, VerifierError

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

_COMMANDS = {
    "replay": (".replay", "Run a program over captures."),
    "live": (".live", "Run a program over the packets of an interface."),
    "verify": (".verify", "Prove a program safe, or say why not."),
    "inspect": (".objects", "Show what an object file contains."),
    "disasm": (".objects", "Show a program's instructions and source lines."),
    "asm": (".objects", "Assemble a file into an object."),
    "compile": (".compile", "Make an XDP object of a tcpdump expression."),
    "trace": (".insight", "Show every instruction that one packet executes."),
    "cover": (".insight", "Show which source lines packets reach."),
    "profile": (".insight", "Show what each source line costs."),
    "link": (".control", "Show and replace the programs of a running engine."),
    "map": (".control", "Read and write the maps of a running engine."),
    "bench": (".bench", "Measure pktfilter beside its peers."),
    "report": (".report", "Make a page of benchmark results."),
    "cache": (".cache", "Show or empty the cache of compiled programs."),
    "generate": (".generate", "Make a capture for tests and benchmarks."),
}


class UsageError(InputError):
    """The command line cannot mean anything: exit status 2."""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name][0], __name__)
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


def _show_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"pktfilter {version('pktfilter')}")
    except PackageNotFoundError:
        click.echo("pktfilter, run from a source tree")
    ctx.exit()


@click.group(
    cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_show_version,
    help="Show the version and exit.",
)  # fmt: skip
def cli() -> None:
    """Runs XDP programs (eBPF) in user space over captures, without root, and over live interfaces.

    \b
    PROG is FILE.o[:NAME] (a compiled object), FILE.s[:NAME] (assembly) or
    pcap:EXPRESSION (tcpdump's).
    Exit status: 0 done; 1 the input or the program was refused, or input ended damaged; 2 usage;
    130 interrupted.
    """


def fail(error: BaseException | str, status: int = EXIT_REFUSED) -> NoReturn:
    """Ends the command with one sentence on standard error."""
    click.echo(f"pktfilter: {error}", err=True)
    sys.exit(status)


def main() -> None:
    """Entry point: turns every error a user can cause into a sentence and an exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names are bytes
    try:
        status = cli.main(prog_name="pktfilter", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
        sys.exit(status if isinstance(status, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.exceptions.Abort:
        fail("interrupted", EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        fail("interrupted", EXIT_INTERRUPTED)
    except UsageError as error:
        fail(error, EXIT_USAGE)
    except VerifierError as error:
        for diagnostic in error.diagnostics:
            click.echo(diagnostic.render() + "\n", err=True)
        fail(error)
    except PktfilterError as error:
        fail(error)
    except BrokenPipeError:
        # Whoever read our output has gone: point it elsewhere, or the interpreter complains at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_REFUSED)
    except OSError as error:
        # Files are opened by code that names them; what is left without a name is our own output.
        fail(f"{error.filename or 'standard output'}: {error.strerror or error}")
    except MemoryError:
        fail("out of memory")
