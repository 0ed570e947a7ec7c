"""What generated code knows of the core's structs (csrc/native/layout.def)."""

LAYOUT: dict[str, int]
"""Offset of "struct.field", "sizeof.struct", and constants of the core, by name."""
