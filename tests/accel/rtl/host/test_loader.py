# amaranth: UnusedElaboratable=no
"""Loads against docs/uart.md packed by hand, with any pauses on both sides."""
import binascii
import random
import struct

import pytest
from amaranth.lib import data

from accel import isa
from accel.config import TINY
from accel.link import Command, Fault
from accel.rtl.host.loader import Loader
from tests.accel.rtl.host.bench import PayloadSource, carry_out
from tests.accel.streams import Monitor, simulate, sink

DIGEST = bytes.fromhex(TINY.digest())[:8]
OLD = {"net": 0x1122334455667788, "n_logits": 3, "pixel_bytes": 12}
NEW = {"net": 0x99AABBCCDDEEFF01, "n_logits": 0x1234, "pixel_bytes": 0xABCD}
SETTINGS = 0xFEDCBA9876543210


def entry(target, address, word):
    return struct.pack("<BHQ", target, address, word)


def end_load(entries, *, count=None, check=None):
    count = len(entries) // 11 if count is None else count
    check = binascii.crc32(entries) if check is None else check
    return struct.pack("<IIQHHQ", count, check, *NEW.values(), SETTINGS)


class Bench:
    """A loader that carries out `steps`, (command, payload, fault, load_next, loading, net), and is so after each.

    net: None, where none is loaded and the fields are of the net before, or the one that is.
    load: Monitor of the words for the core.
    """
    def __init__(self, steps, *, net=None, pauses=0.0, gap=1, seed=0):
        self.dut = dut = Loader(TINY, net=net)
        self.payload = PayloadSource(dut.octets, dut.left, gap=gap, pauses=pauses, seed=seed)
        self.load, self._steps, self._over = Monitor(dut.load), steps, False
        self._fields = net or dict.fromkeys(NEW, 0)
        simulate(dut, self._host, self.payload.bench, sink(dut.load, pauses=pauses, seed=seed), self.load.watch,
                 done=lambda: self._over, timeout=100_000)

    async def _host(self, ctx):
        dut = self.dut
        for k, (command, payload, fault, load_next, loading, net) in enumerate(self._steps):
            self.payload.octets = payload
            assert await carry_out(ctx, dut.control, command) == fault, k
            self._fields = net or self._fields
            assert {name: ctx.get(dut.net[name]) for name in NEW} == self._fields, k
            assert (ctx.get(dut.load_next), ctx.get(dut.loading), ctx.get(dut.net.loaded)) == (
                load_next, loading, net is not None), k
            assert fault or not self.payload.octets, k
        self._over = True

    @property
    def words(self):
        layout = data.Layout.cast(isa.LoadWord)
        words = map(layout.from_bits, self.load.payloads)
        return [(word.target.value, word.address, word.data) for word in words]


def begin(net=None):
    return Command.BEGIN_LOAD, DIGEST, Fault.NONE, 0, 1, net


def load(index, octets, fault=Fault.NONE, load_next=None):
    load_next = index + len(octets) // 11 if load_next is None else load_next
    return Command.LOAD, struct.pack("<I", index) + octets, fault, load_next, 1, None


@pytest.mark.parametrize("pauses", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("net", [None, OLD])
def test_nets_are_loaded_one_after_the_other(net, pauses):
    chance = random.Random(1)
    steps, words = [], []
    for length in (7, 1, 0):
        entries = [(chance.choice([0, 1, 2, 3, 4, 255]), chance.randrange(1 << 16), chance.randrange(1 << 64))
                   for _ in range(length)]
        octets = b"".join(entry(*fields) for fields in entries)
        cut = 11 * chance.randrange(length + 1)
        steps += [begin(), load(0, octets[:cut]), load(cut // 11, octets[cut:]),
                  (Command.END_LOAD, end_load(octets), Fault.NONE, length, 0, NEW)]
        words += [fields for fields in entries if fields[0] < 3] + [(3, 0, SETTINGS)]
    assert Bench(steps, net=net, pauses=pauses, seed=2).words == words


def test_a_configuration_that_differs_in_any_byte_changes_nothing():
    wrong = [DIGEST[:k] + bytes([DIGEST[k] ^ 1 << k]) + DIGEST[k + 1:] for k in range(8)]
    refused = [(Command.BEGIN_LOAD, octets, Fault.CONFIG, 0, 0, OLD) for octets in wrong]
    in_a_load = [(Command.BEGIN_LOAD, octets, Fault.CONFIG, 1, 1, None) for octets in wrong[:2]]
    octets = entry(1, 2, 3)
    end = Command.END_LOAD, end_load(octets), Fault.NONE, 1, 0, NEW
    bench = Bench([*refused, begin(), load(0, octets), *in_a_load, end], net=OLD)
    assert bench.words == [(1, 2, 3), (3, 0, SETTINGS)]


def test_entries_are_taken_once_and_in_order():
    octets = entry(0, 1, 2) * 3
    steps = [begin(), load(0, octets)]
    steps += [load(3 ^ 1 << bit, octets, Fault.ORDER, 3) for bit in range(32)]
    bench = Bench([*steps, load(3, b""), (Command.END_LOAD, end_load(octets), Fault.NONE, 3, 0, NEW)])
    assert bench.words == [(0, 1, 2)] * 3 + [(3, 0, SETTINGS)]


@pytest.mark.parametrize("gap", [1, 4])
@pytest.mark.parametrize("rest", range(1, 11))
def test_of_half_an_entry_nothing_is_taken_and_the_load_goes_on(rest, gap):
    """The check at the end is over whole entries alone."""
    whole = [entry(k, k, k) for k in range(3)]
    steps = [begin(), load(0, whole[0][:rest], Fault.LENGTH, 0), load(0, whole[0] + whole[1][:rest], Fault.LENGTH, 1),
             load(1, whole[1] + whole[2]), (Command.END_LOAD, end_load(b"".join(whole)), Fault.NONE, 3, 0, NEW)]
    assert Bench(steps, gap=gap).words == [(0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 0, SETTINGS)]


def test_a_net_that_did_not_arrive_whole_is_not_used():
    octets = entry(0, 1, 2) + entry(1, 3, 4)
    check = binascii.crc32(octets)
    wrong = [{"count": 2 ^ 1 << bit} for bit in range(0, 32, 7)] + [{"check": check ^ 1 << bit} for bit in range(32)]
    refused = [(Command.END_LOAD, end_load(octets, **fields), Fault.IMAGE_CHECK, 2, 1, None) for fields in wrong]
    bench = Bench([begin(), load(0, octets), *refused, (Command.END_LOAD, end_load(octets), Fault.NONE, 2, 0, NEW)],
                  net=OLD)
    assert bench.words == [(0, 1, 2), (1, 3, 4), (3, 0, SETTINGS)]


def test_an_entry_takes_44_cycles_from_a_reader_of_payloads():
    cycles = Bench([begin(), load(0, entry(0, 0, 0) * 20)], gap=4).load.cycles
    assert [b - a for a, b in zip(cycles, cycles[1:], strict=False)] == [44] * 19
