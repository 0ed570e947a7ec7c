"""Real captures against what independent readers said of them; damage; write-back."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

import pytest
import readers
from readers import Row

import pktfilter as pf

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


@lru_cache
def rows() -> list[Row]:
    try:
        return readers.manifest()
    except pytest.skip.Exception:
        return []


def chosen(*, hostile: bool, ethernet: bool | None = None) -> list[Row]:
    return [
        row
        for row in rows()
        if (row.category == "hostile") == hostile
        and (ethernet is None or (row.linktype.split("|")[0] == "EN10MB") == ethernet)
    ]


def pass_hook() -> pf.Hook:
    hook = pf.Hook()
    hook.attach(pf.load(EXAMPLES / "pass.o").program())
    return hook


def test_the_captures_are_there() -> None:
    readers.manifest()  # skips with the reason
    assert len(chosen(hostile=False)) > 400


def test_the_captures_are_those_of_the_manifest() -> None:
    readers.manifest()
    changed = readers.altered()
    assert len(changed) < 10, changed  # a folder of other captures is an error
    if changed:
        pytest.skip(f"not the bytes that the manifest describes, left out: {', '.join(changed)}")


@pytest.mark.parametrize("row", chosen(hostile=False, ethernet=True), ids=lambda r: r.file)
def test_counts_bytes_and_write_back(row: Row, tmp_path: Path) -> None:
    """Counts and bytes are the manifest's; a pass-all copy holds the same packets and timestamps."""
    if row.oracle not in ("agree", "agree-partial"):
        pytest.skip(f"independent readers do not agree on it: {row.oracle}")
    out = tmp_path / ("copy.pcapng" if row.format == "pcapng" else "copy.pcap")
    original = readers.walk(row.path)
    try:
        result = pf.replay(row.path, pass_hook(), write=out, linear="full")
    except (pf.CaptureError, pf.OutputError) as error:
        assert row.oracle != "agree", error
        return
    assert result.packets == sum(result.actions.values()) == result.actions["pass"]
    if row.oracle == "agree":
        assert not result.errors
        assert result.packets == row.packets
        digest = hashlib.sha256(b"".join(r.data for r in original.records)).hexdigest()
        if digest == row.data_sha256:
            assert result.bytes == sum(r.cap_len for r in original.records)
    copy = readers.walk(out)
    assert copy.damage is None
    assert len(copy.records) == result.packets
    for want, got in zip(original.records, copy.records, strict=False):
        assert (got.data, got.ts_ns, got.orig_len) == (
            want.data,
            want.ts_ns,
            max(want.orig_len, want.cap_len),
        )


@pytest.mark.parametrize("row", chosen(hostile=False, ethernet=False), ids=lambda r: r.file)
def test_other_link_types_are_refused_by_name(row: Row) -> None:
    if "EN10MB" in row.linktype:
        pytest.skip("mixed: some interfaces are Ethernet")
    if not row.packets or row.oracle != "agree":
        pytest.skip(f"nothing to refuse: {row.packets} packets, {row.oracle}")
    with pytest.raises(pf.CaptureError) as caught:
        pf.replay(row.path, pass_hook())
    assert "link type" in str(caught.value)
    assert row.file.rsplit("/", 1)[-1] in str(caught.value)


@pytest.mark.parametrize("row", chosen(hostile=True), ids=lambda r: r.file)
def test_hostile_captures_end_cleanly(row: Row, tmp_path: Path) -> None:
    out = tmp_path / "out.pcapng"
    walked = readers.walk(row.path)
    try:
        result = pf.replay(row.path, pass_hook(), write=out, linear="full")
    except pf.CaptureError as error:
        assert str(error).startswith(str(row.path))
        return
    assert result.packets == sum(entry.packets for entry in result.inputs)
    copy = readers.walk(out)
    assert copy.damage is None
    assert len(copy.records) == result.packets
    # The undamaged prefix is there: what an independent walker read before it met damage.
    prefix = min(len(walked.records), result.packets)
    assert [r.data for r in copy.records[:prefix]] == [r.data for r in walked.records[:prefix]]


CONVERTIBLE = ("RAW", "NULL", "LOOP", "LINUX_SLL", "LINUX_SLL2", "IPV4", "IPV6")


@pytest.mark.parametrize(
    "row",
    [
        r
        for r in chosen(hostile=False, ethernet=False)
        if r.linktype in CONVERTIBLE and r.oracle == "agree"
    ],
    ids=lambda r: r.file,
)
def test_as_ethernet(row: Row, tmp_path: Path) -> None:
    out = tmp_path / "ethernet.pcap"
    result = pf.replay(row.path, pass_hook(), write=out, as_ethernet=True, linear="full")
    assert result.packets == row.packets
    copy = readers.walk(out)
    original = readers.walk(row.path)
    for want, got in zip(original.records, copy.records, strict=True):
        assert got.linktype == 1
        assert len(got.data) >= 14
        payload = got.data[14:]
        assert want.data.endswith(payload)
        ethertype = int.from_bytes(got.data[12:14], "big")
        if ethertype == 0x0800 and payload:
            assert payload[0] >> 4 == 4
        if ethertype == 0x86DD and payload:
            assert payload[0] >> 4 == 6
