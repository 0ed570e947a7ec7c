"""`--btf` and `--kconfig`: the kernel that objects are loaded for, for all programs of a command."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..objects import ObjectSpec
    from ..objects.btf import Btf

Command = Callable[..., Any]


@dataclass()
class Environment:
    """What the options of this process's command say; threads that load later see the same."""

    btf: str | None = None
    #: The types once read: a kernel's take a second.
    target: Btf | None = None

    kconfig: tuple[str, ...] = ()
    #: What they say, once read.
    configured: dict[str, Any] | None = None

    def prepare(self, spec: ObjectSpec) -> ObjectSpec:
        """The spec with CO-RE relocations and extern variables as the options say, if they do."""
        if self.btf is not None:
            from ..objects.target_btf import read_target

            if self.target is None:
                self.target = read_target(self.btf)
            spec.relocate(self.target)
        if self.kconfig:
            from ..objects.externs import read_kconfig, set_kconfig

            if self.configured is None:
                self.configured = read_kconfig(self.kconfig)
            set_kconfig(spec, self.configured)
        return spec


environment = Environment()


def _set_btf(_ctx: click.Context, _param: click.Parameter, text: str | None) -> None:
    environment.btf, environment.target = text, None


def _set_kconfig(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> None:
    environment.kconfig, environment.configured = texts, None


def environment_options(command: Command) -> Command:
    """Adds the options to a command; the command itself does not get them as arguments."""
    command = click.option(
        "--kconfig",
        multiple=True,
        callback=_set_kconfig,
        expose_value=False,
        metavar="FILE|NAME=VALUE",
        help="Values of extern __kconfig variables: one, or a kernel's .config or config.gz. "
        "Repeatable; the last one counts.",
    )(command)
    return click.option(
        "--btf",
        callback=_set_btf,
        expose_value=False,
        metavar="FILE|system|own",
        help="Types that CO-RE relocations are resolved against: a file's (BTF, or ELF with it), the "
        "running kernel's, or the object's own.  [default: own]",
    )(command)
