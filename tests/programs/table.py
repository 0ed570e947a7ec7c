"""Prints the table of README.md: `python tests/programs/table.py` (needs the core, no kernel)."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from verifier_corpus import Entry, programs  # noqa: E402


def _row(name: str, entries: list[Entry]) -> str:
    source = (HERE / f"{name}.c").read_text(encoding="utf-8")
    insns = ", ".join(str(len(entry.insns) // 8) for entry in entries)
    first = entries[0]
    about = first.uses if first.expected == "accept" else f"{first.reason}: {first.why}"
    needs = f" (needs {' '.join(sorted(first.needs))})" if first.needs else ""
    return f"| `{name}` | {source.count(chr(10))} | {insns} | {about}{needs} |"


def main() -> None:
    """One row a source: lines, instructions of each of its programs as compiled for v3, uses."""
    sources: dict[str, list[Entry]] = {}
    variants: list[str] = []
    for entry in programs():
        name = entry.name.split(":")[0]
        if "." in name:
            variants.append(f"`{name}` {len(entry.insns) // 8}")
        else:
            sources.setdefault(name, []).append(entry)
    for title, broken in (("accepted", False), ("refused", True)):
        print(f"\n## {title.capitalize()}\n| program | lines | insns | uses |\n|---|---|---|---|")
        for name, entries in sources.items():
            if name.startswith("broken/") == broken:
                print(_row(name, entries))
    print(
        f"\n## Variants\nCompiled for other instruction sets (instructions): {', '.join(variants)}."
    )


if __name__ == "__main__":
    main()
