"""The one place where results of the C core become exceptions."""

def render(
    code: int,
    *,
    insn: int = 0,
    offset: int = 0,
    found: int = 0,
    expected: int = 0,
    name: str = "",
) -> tuple[str, str]:
    """The sentence and the hint of diagnostic `code` with its fields put in."""

def exception(
    err: int,
    code: int = 0,
    *,
    insn: int = 0,
    offset: int = 0,
    found: int = 0,
    expected: int = 0,
    name: str = "",
) -> Exception:
    """The exception for result `err` (an errno) with diagnostic `code` (0: none) and its fields."""
