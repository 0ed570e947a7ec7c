"""Shared fixtures."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def demo() -> str:
    """The demonstration capture of the README."""
    return str(ROOT / "pcaps" / "demo.pcap")
