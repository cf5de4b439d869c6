# amaranth: UnusedElaboratable=no
"""Loads against docs/uart.md packed by hand, with any pauses on both sides."""
import binascii
import random
import struct
from dataclasses import replace

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
NONE = {"net": 0, "n_logits": 0, "pixel_bytes": 0}
NEW = {"net": 0x99AABBCCDDEEFF01, "n_logits": 1022, "pixel_bytes": 3 * 5 * 8}
BEYOND = 0xFEDCBA9 << 36                            # bits of the settings that nobody looks at
SETTINGS = BEYOND | 16 << 20 | 2 << 14 | 8 << 7 | 5         # 5 x 8 pixels
DEPTHS = [TINY.program_depth, TINY.weight_depth, TINY.threshold_depth]


def entry(target, address, word):
    return struct.pack("<BHQ", target, address, word)


def end_load(entries, *, count=None, check=None, settings=SETTINGS, **fields):
    count = len(entries) // 11 if count is None else count
    check = binascii.crc32(entries) if check is None else check
    return struct.pack("<IIQHHQ", count, check, *(NEW | fields).values(), settings)


class Bench:
    """A loader that carries out `steps`, (command, payload, fault, load_next, loading, net), and is so after each.

    net: None, where none is loaded, or the one that is.
    load: Monitor of the words for the core.
    """
    def __init__(self, steps, *, config=TINY, net=None, pauses=0.0, gap=1, seed=0):
        self.dut = dut = Loader(config, net=net)
        self.payload = PayloadSource(dut.octets, dut.left, gap=gap, pauses=pauses, seed=seed)
        self.load, self._steps, self._over = Monitor(dut.load), steps, False
        simulate(dut, self._host, self.payload.bench, sink(dut.load, pauses=pauses, seed=seed), self.load.watch,
                 done=lambda: self._over, timeout=100_000)

    async def _host(self, ctx):
        dut = self.dut
        for k, (command, payload, fault, load_next, loading, net) in enumerate(self._steps):
            self.payload.octets = payload
            assert await carry_out(ctx, dut.control, command) == fault, k
            assert {name: ctx.get(dut.net[name]) for name in NEW} == (net or NONE), k
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
    for length in (7, 1, 2):
        targets = [chance.randrange(3) for _ in range(length)]
        entries = [(target, chance.choice([0, DEPTHS[target] - 1, chance.randrange(DEPTHS[target])]),
                    chance.randrange(1 << 64)) for target in targets]
        octets = b"".join(entry(*fields) for fields in entries)
        cut = 11 * chance.randrange(length + 1)
        steps += [begin(), load(0, octets[:cut]), load(cut // 11, octets[cut:]),
                  (Command.END_LOAD, end_load(octets), Fault.NONE, length, 0, NEW)]
        words += [*entries, (3, 0, SETTINGS)]
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


@pytest.mark.parametrize("bad", [
    *((target, depth, 0) for target, depth in enumerate(DEPTHS)), (0, 0xFFFF, 0), (1, 0xFFFF, 0), (2, 1 << 15, 0),
    *((target, 0, SETTINGS) for target in (3, 4, 7, 128, 255))])
def test_an_entry_that_is_in_no_memory_is_refused_and_another_may_take_its_place(bad):
    whole = [entry(k, k, k) for k in range(3)]
    steps = [begin(), load(0, whole[0] + whole[1] + entry(*bad) + whole[2], Fault.ENTRY, 2),
             load(2, entry(*bad), Fault.ENTRY, 2), load(2, whole[2]),
             (Command.END_LOAD, end_load(b"".join(whole)), Fault.NONE, 3, 0, NEW)]
    assert Bench(steps).words == [(0, 0, 0), (1, 1, 1), (2, 2, 2), (3, 0, SETTINGS)]


def sized(width, height):
    return {"pixel_bytes": 3 * width * height, "settings": SETTINGS >> 14 << 14 | height << 7 | width}


LIES = [
    {"n_logits": 0}, {"n_logits": 1023}, {"n_logits": 1024}, {"n_logits": 0xFFFF},
    {"pixel_bytes": 0}, {"pixel_bytes": 119}, {"pixel_bytes": 121}, {"pixel_bytes": 40}, {"pixel_bytes": 0x8078},
    {"pixel_bytes": 4096}, {"pixel_bytes": 0xFFFF},
    sized(0, 0), sized(0, 8), sized(5, 0), sized(9, 8), sized(8, 9), sized(9, 1), sized(127, 127), sized(1, 127),
    sized(5, 8) | {"pixel_bytes": 3 * 5 * 7}, sized(5, 7) | {"pixel_bytes": 120}, sized(4, 8) | {"pixel_bytes": 120}]


def test_sizes_that_cannot_be_are_refused_and_the_load_stays():
    octets = entry(0, 1, 2)
    refused = [(Command.END_LOAD, end_load(octets, **lie), Fault.SIZES, 1, 1, None) for lie in LIES]
    bench = Bench([begin(), load(0, octets), *refused, (Command.END_LOAD, end_load(octets), Fault.NONE, 1, 0, NEW)])
    assert bench.words == [(0, 1, 2), (3, 0, SETTINGS)]


def test_a_net_that_did_not_arrive_whole_is_that_whatever_its_sizes():
    octets = entry(0, 1, 2)
    end = end_load(octets, count=2, **LIES[0])
    Bench([begin(), load(0, octets), (Command.END_LOAD, end, Fault.IMAGE_CHECK, 1, 1, None)])


def test_a_net_of_no_entries_is_none():
    Bench([begin(), (Command.END_LOAD, end_load(b""), Fault.SIZES, 0, 1, None)], net=OLD)


@pytest.mark.parametrize("width, height", [(1, 1), (8, 8), (1, 8), (8, 1), (7, 3)])
def test_all_pictures_that_the_device_holds_are_taken(width, height):
    octets, size = entry(0, 1, 2), sized(width, height)
    net = NEW | {"n_logits": 1, "pixel_bytes": size["pixel_bytes"]}
    Bench([begin(), load(0, octets), (Command.END_LOAD, end_load(octets, n_logits=1, **size), Fault.NONE, 1, 0, net)])


def test_a_picture_is_no_more_than_a_frame():
    """A device that holds 127 x 127 pixels."""
    large = replace(TINY, picture_width=127, picture_height=127, activation_depth=16384)
    octets, digest = entry(0, 1, 2), bytes.fromhex(large.digest())[:8]
    for size, fault, loading, net in ((sized(35, 39), Fault.NONE, 0, NEW | {"pixel_bytes": 4095}),
                                      (sized(127, 11), Fault.SIZES, 1, None), (sized(127, 127), Fault.SIZES, 1, None)):
        Bench([(Command.BEGIN_LOAD, digest, Fault.NONE, 0, 1, None), load(0, octets),
               (Command.END_LOAD, end_load(octets, **size), fault, 1, loading, net)], config=large)


@pytest.mark.parametrize("command", [Command.LOAD, Command.END_LOAD])
def test_an_order_that_is_given_up_takes_the_load_with_it(command):
    """In a cycle in which the core does not take a word. The next load begins from nothing."""
    dut, over, octets = Loader(TINY, net=OLD), [], entry(0, 1, 2)
    payload, words = PayloadSource(dut.octets, dut.left), []
    payloads = {Command.LOAD: struct.pack("<I", 0) + octets, Command.END_LOAD: end_load(octets)}

    async def watch(ctx):
        async for _, _, valid, ready, word in ctx.tick().sample(dut.load.valid, dut.load.ready, dut.load.payload):
            if valid and ready:
                words.append((word.target.value, word.address, word.data))

    async def host(ctx):
        for given_up in (True, False):
            payload.octets = DIGEST
            ctx.set(dut.load.ready, 1)
            assert await carry_out(ctx, dut.control, Command.BEGIN_LOAD) == Fault.NONE
            for step in (Command.LOAD, Command.END_LOAD):
                payload.octets = payloads[step]
                if step != command or not given_up:
                    assert await carry_out(ctx, dut.control, step) == Fault.NONE
                    continue
                ctx.set(dut.load.ready, 0)
                ctx.set(dut.control.order.payload, {"command": step})
                ctx.set(dut.control.order.valid, 1)
                while not ctx.get(dut.load.valid):
                    await ctx.tick()
                await ctx.tick().repeat(7)
                assert ctx.get(dut.load.valid)
                ctx.set(dut.abandon, 1)
                await ctx.tick()
                ctx.set(dut.abandon, 0)
                ctx.set(dut.control.order.valid, 0)
                ctx.set(dut.load.ready, 1)
                await ctx.tick().repeat(3)
                assert not ctx.get(dut.loading) and not ctx.get(dut.net.as_value()) and not ctx.get(dut.load.valid)
                break
        assert ctx.get(dut.net.loaded)
        over.append(True)
    simulate(dut, host, payload.bench, watch, done=lambda: over, timeout=10_000)
    assert words == ([(0, 1, 2)] if command == Command.END_LOAD else []) + [(0, 1, 2), (3, 0, SETTINGS)]


def test_an_entry_takes_56_cycles_from_a_reader_of_payloads():
    cycles = Bench([begin(), load(0, entry(0, 0, 0) * 20)], gap=4).load.cycles
    assert [b - a for a, b in zip(cycles, cycles[1:], strict=False)] == [56] * 19
