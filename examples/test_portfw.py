"""Tests of portfw.o, as docs/testing.md describes them. Run them with `pytest examples`."""

from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

import pktfilter as pf

HTTPS = 443


@pytest.fixture
def portfw(xdp):
    """The program, with empty maps."""
    return xdp.load("portfw.o")


def packet(layer):
    """An Ethernet frame with this transport layer."""
    return Ether() / IP(src="10.0.0.1", dst="10.0.0.2") / layer


def test_https_passes_as_it_is(portfw):
    portfw.run(packet(TCP(dport=HTTPS))).expect("pass", unchanged=True)


def test_a_rule_drops_and_is_counted(portfw):
    portfw.maps["port_rules"][{"port": HTTPS, "protocol": 6}] = {"id": 200, "action": pf.XDP.DROP}
    result = portfw.run(packet(TCP(dport=HTTPS)))
    assert result.action == pf.XDP.DROP
    (hit,) = portfw.contents("rule_hits")
    assert hit["key"] == 200
    assert hit["value"][0] == {"packets": 1, "bytes": len(result.sent)}


@pytest.mark.parametrize("port", [135, 139, 445])
def test_built_in_rules(portfw, port):
    portfw.run(packet(TCP(dport=port))).expect(pf.XDP.DROP)
    portfw.run(packet(UDP(dport=port + 1000))).expect("pass")


@pytest.mark.xdp_engines("checked", "interp")
def test_truncated_packets_pass(portfw):
    whole = bytes(packet(TCP(dport=135)))
    for length in range(14, 34):
        portfw.run(whole[:length]).expect("pass", unchanged=True)


@pytest.mark.capture("../pcaps/demo.pcap", limit=25)
def test_packets_of_a_capture_stay_as_they_are(portfw, captured):
    result = portfw.run(captured)
    assert result.action in (pf.XDP.PASS, pf.XDP.DROP)
    result.expect(unchanged=True)


def test_a_whole_capture(portfw):
    result = portfw.replay(Path(__file__).parent.parent / "pcaps/demo.pcap")
    assert result.actions["drop"] + result.actions["pass"] == result.packets == 2000
