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

    def prepare(self, spec: ObjectSpec) -> ObjectSpec:
        """The spec with its CO-RE relocations resolved as the options say; as it was without them."""
        if self.btf is not None:
            from ..objects.target_btf import read_target

            if self.target is None:
                self.target = read_target(self.btf)
            spec.relocate(self.target)
        return spec


environment = Environment()


def _set_btf(_ctx: click.Context, _param: click.Parameter, text: str | None) -> None:
    environment.btf, environment.target = text, None


def environment_options(command: Command) -> Command:
    """Adds the options to a command; the command itself does not get them as arguments."""
    return click.option(
        "--btf",
        callback=_set_btf,
        expose_value=False,
        metavar="FILE|system|own",
        help="Types that CO-RE relocations are resolved against: a file's (BTF, or ELF with it), the "
        "running kernel's, or the object's own.  [default: own]",
    )(command)
