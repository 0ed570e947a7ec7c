"""Assembly in the syntax of the Linux verifier log: text to bytecode, bytecode to object files."""

from .body import AsmProgram
from .elf_writer import write_object
from .source import assemble, assemble_file, is_label

__all__ = ["AsmProgram", "assemble", "assemble_file", "is_label", "write_object"]
