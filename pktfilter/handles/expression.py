"""Programs made of tcpdump expressions: one handle, one member for each link type that came up."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from .._core.isa import MAX_INSNS
from .._core.prog import LINK_HEAD, link_kind
from ..errors import ExpressionError, InputError, ProgramError, VerifierError
from ..expressions import ETHERNET, PREFIX, LinkKind
from ..expressions.code import Code
from ..expressions.compile import check_meaning, check_text, translate_expression
from .program import ENGINES, Program, TestRun


def _abort() -> bytes:
    """What runs for a link type without a member, which no packet gets as far as: XDP_ABORTED."""
    code = Code()
    code.add("MOV64_IMM", 0)
    code.add("EXIT")
    return code.finish()


class ExpressionProgram(Program):
    """A tcpdump expression as a program of type pcap; made by `Program.from_expression`.

    It is one program to links, trials and reports. Behind it stands a family: a member for each kind
    of link header, compiled when a packet of that kind is next. `expression` is the text.
    """

    def __init__(
        self, expression: str, linktype: int | None = ETHERNET.linktype, *, verify: bool = True
    ) -> None:
        check_text(expression)
        self.expression = expression
        #: Link type and byte order -> the program for it.
        self.members: dict[LinkKind, Program] = {}
        self._verify = verify
        self._joining = threading.Lock()
        super().__init__(
            _abort(), type="pcap", name=PREFIX + expression, link=LINK_HEAD, verify=verify
        )
        if linktype is not None:
            self.prepare(LinkKind(linktype))
            return
        try:
            self.prepare(ETHERNET)
        except ExpressionError:
            check_meaning(expression)

    def prepare(self, kind: LinkKind) -> Program:
        """The member for this kind of link header, compiled and verified first where there is none."""
        with self._joining:
            if kind in self.members:
                return self.members[kind]
            try:
                member = Program(
                    translate_expression(self.expression, kind, limit=MAX_INSNS),
                    type="pcap",
                    name=self.name,
                    link=link_kind(kind.linktype, kind.swapped),
                    verify=self._verify,
                )
            except (ProgramError, VerifierError) as error:
                raise ExpressionError(
                    f"the expression cannot be run over {kind}: {error}",
                    expression=self.expression,
                    linktype=kind.linktype,
                ) from error
            joined = self._ref.join(member._ref)
            assert joined, "a member joins a family once"
            self.members[kind] = member
            self._add_verification(member)
            return member

    def _add_verification(self, member: Program) -> None:
        """`verification` is the last member's, with the time of all."""
        mine, new = self.verification, member.verification
        if mine is not None and new is not None:
            self.verification = replace(new, elapsed_us=mine.elapsed_us + new.elapsed_us)

    @property
    def _first(self) -> Program | None:
        return next(iter(self.members.values()), None)

    @property
    def insns(self) -> bytes:
        """The bytecode for the link type that came first."""
        return super().insns if self._first is None else self._first.insns

    @property
    def tag(self) -> str:
        """Of the bytecode for the link type that came first."""
        return super().tag if self._first is None else self._first.tag

    @property
    def engine(self) -> str:
        """The best engine that runs all members."""
        return min(
            (m.engine for m in self.members.values()), key=ENGINES.index, default=super().engine
        )

    def test_run(self, packet: bytes, *args: Any, linktype: int = 1, **options: Any) -> TestRun:
        """As `Program.test_run`, of a packet of this link type."""
        if not 0 <= linktype <= 0xFFFF:
            raise InputError("no such link type", found=linktype, expected="0 to 65535")
        return self.prepare(LinkKind(linktype)).test_run(packet, *args, **options)
