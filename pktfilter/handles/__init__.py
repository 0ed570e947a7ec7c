"""Handles of what lives in the core: maps, programs, hooks, links; and loading objects into them."""
