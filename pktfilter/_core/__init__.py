"""Bindings of the C core: one thin module per subsystem, over one shared library."""
