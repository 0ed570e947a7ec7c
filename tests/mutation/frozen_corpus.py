"""A pytest plugin for the scratch copies: the corpus is read once and for all, its tests run first.

Assembling 1,500 cases takes most of the time of the tests over the corpus, and does not depend on
the verifier. The first run, which is of the unmutated sources, leaves the entries in a file.
"""

from __future__ import annotations

import gc
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import verifier_corpus

STORED = Path("build/corpus.pickle")


def pytest_configure(config: pytest.Config) -> None:
    """Puts the stored entries in the place of the reader."""
    read = {"cases": verifier_corpus.cases, "programs": verifier_corpus.programs}
    if not STORED.exists():
        STORED.write_bytes(pickle.dumps({name: list(f()) for name, f in read.items()}))
    gc.disable()
    stored = pickle.loads(STORED.read_bytes())
    gc.enable()

    def cases(folder: Path = STORED) -> Iterator[verifier_corpus.Entry]:
        return iter(stored["cases"])

    def programs(folder: Path = STORED) -> Iterator[verifier_corpus.Entry]:
        return iter(stored["programs"])

    verifier_corpus.cases, verifier_corpus.programs = cases, programs


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What judges the whole corpus is quick, and kills most."""
    items.sort(key=lambda item: "linux" not in item.name)
