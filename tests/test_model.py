"""The reclamation protocol's model: it holds, and every mutant is refuted as its kept trace says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "model"


@pytest.mark.skipif(
    shutil.which("spin") is None or shutil.which("gcc") is None,
    reason="checking the model needs spin and gcc",
)
def test_the_protocol_holds_and_every_mutant_is_refuted() -> None:
    done = subprocess.run([sys.executable, HERE / "run.py"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert len([line for line in done.stdout.splitlines() if " refuted in " in line]) >= 29


def test_every_mutant_has_one_trace() -> None:
    text = (HERE / "run.py").read_text()
    names = {
        line.split('"')[1].lower()
        for line in text.splitlines()
        if line.strip().startswith('Mutant("')
    }
    assert len(names) >= 29
    assert {path.stem for path in (HERE / "traces").glob("*.txt")} == names
    for path in (HERE / "traces").glob("*.txt"):
        lines = path.read_text().splitlines()
        assert lines[2].startswith(f"Shortest: {len(lines) - 5} operations"), path.name
