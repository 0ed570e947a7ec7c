"""Shared fixtures."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CACHE = tempfile.mkdtemp(prefix="pktfilter-tests-")


def pytest_configure() -> None:
    """Tests, and the commands that they start, neither use nor fill the user's cache."""
    os.environ["PKTFILTER_CACHE"] = CACHE


def pytest_unconfigure() -> None:
    shutil.rmtree(CACHE, ignore_errors=True)


@pytest.fixture
def demo() -> str:
    """The demonstration capture of the README."""
    return str(ROOT / "pcaps" / "demo.pcap")
