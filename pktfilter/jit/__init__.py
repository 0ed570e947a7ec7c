"""The compiled tier: verified bytecode to LLVM IR to an x86-64 object that the core loads.

`unit` is what a translation depends on, `translate` makes IR text of it, `llvm` makes an object of the
text, `cache` keeps objects on disk. Nothing here runs code or knows of programs and hooks.
"""
