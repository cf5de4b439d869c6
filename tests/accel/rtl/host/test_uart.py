# amaranth: UnusedElaboratable=no
"""UART in pysim: every byte, clocks that differ, glitches, breaks, and the transmitter read back by the receiver."""
from fractions import Fraction

import numpy as np
import pytest
from amaranth import Module
from amaranth.sim import Simulator

from accel.rtl.host.uart import UartReceiver, UartTransmitter, phase_step

CLOCK_HZ = 100e6
BAUD = 3e6
BIT = CLOCK_HZ / BAUD           # 33 1/3 cycles


def frame_bits(octet, stop=1):
    return [0, *(octet >> k & 1 for k in range(8)), stop]


def waveform(octets, bit_cycles, idle=3.0):
    """Levels per cycle of bytes without a pause between them, `idle` bits of silence before and after."""
    bits = [bit for octet in octets for bit in frame_bits(octet)]
    quiet = [1]
    at = np.arange(int((len(bits) + 2 * idle) * bit_cycles)) / bit_cycles - idle
    return np.array(quiet + bits + quiet)[np.clip(np.floor(at).astype(int) + 1, 0, len(bits) + 1)]


def receive(levels, *, clock_hz=CLOCK_HZ, baud=BAUD):
    """(bytes, framing errors) that the receiver makes of a line."""
    dut = UartReceiver(clock_hz=clock_hz, baud=baud)
    got, errors = [], 0

    async def line(ctx):
        nonlocal errors
        for level in levels.tolist():
            ctx.set(dut.rx, level)
            _, _, valid, octet, error = await ctx.tick().sample(dut.valid, dut.data, dut.framing_error)
            if valid:
                got.append(octet)
            errors += error

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(line)
    simulator.run()
    return got, errors


OCTETS = [0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80, *np.random.default_rng(1).integers(0, 256, 40).tolist()]


@pytest.mark.parametrize("mismatch", [-0.02, -0.01, 0, 0.01, 0.02])
@pytest.mark.parametrize("bit", [BIT, 8.0], ids=["33.3 cycles a bit", "8 cycles a bit"])
def test_bytes_without_a_pause_at_two_percent_of_mismatch(mismatch, bit):
    levels = waveform(OCTETS, bit * (1 + mismatch))
    assert receive(levels, baud=CLOCK_HZ / bit) == (OCTETS, 0)


@pytest.mark.parametrize("mismatch", [-0.02, 0.02])
def test_glitches_of_an_eighth_of_a_bit_are_forgiven(mismatch):
    rng = np.random.default_rng(2)
    bit = BIT * (1 + mismatch)
    levels = waveform(OCTETS, bit)
    start, width = 3 * bit, int(BIT / 8)
    for k in range(10 * len(OCTETS)):                   # one somewhere inside every bit but stop bits
        if k % 10 == 9:
            continue
        at = int(start + k * bit + rng.uniform(0.25, 0.6) * bit)
        levels[at:at + width] ^= 1
    assert receive(levels) == (OCTETS, 0)


def test_glitches_on_an_idle_line_start_nothing():
    levels = np.ones(4000, int)
    for at in range(100, 3900, 61):
        levels[at:at + 5] = 0
    assert receive(levels) == ([], 0)


def test_a_break_is_one_framing_error_and_the_next_byte_is_right():
    broken = np.concatenate([waveform([], BIT), np.zeros(int(30 * BIT), int), waveform([0x5A], BIT)])
    assert receive(broken) == ([0x5A], 1)


def test_a_line_that_is_low_from_the_start_brings_no_byte():
    assert receive(np.concatenate([np.zeros(1000, int), waveform([7], BIT)]))[0] == [7]


def test_what_the_transmitter_sends_the_receiver_reads_at_full_rate():
    m = Module()
    m.submodules.tx = tx = UartTransmitter(clock_hz=CLOCK_HZ, baud=BAUD)
    m.submodules.rx = rx = UartReceiver(clock_hz=CLOCK_HZ, baud=BAUD)
    m.d.comb += rx.rx.eq(tx.tx)
    got = []

    async def source(ctx):
        for octet in OCTETS:
            ctx.set(tx.i.payload, octet)
            ctx.set(tx.i.valid, 1)
            ready = False
            while not ready:
                _, _, ready = await ctx.tick().sample(tx.i.ready)
        ctx.set(tx.i.valid, 0)

    async def sink(ctx):
        cycles = 0
        while len(got) < len(OCTETS):
            _, _, valid, octet = await ctx.tick().sample(rx.valid, rx.data)
            cycles += 1
            if valid:
                got.append(octet)
        # 10 bits a byte and one cycle to take the next; the last one is seen in the middle of its stop bit.
        assert cycles <= len(OCTETS) * (10 * BIT + 2)

    simulator = Simulator(m)
    simulator.add_clock(1e-8)
    simulator.add_testbench(source)
    simulator.add_testbench(sink)
    simulator.run()
    assert got == OCTETS


def test_fewer_than_eight_cycles_a_bit_are_refused():
    assert phase_step(24e6, 3e6) == 1 << 17
    with pytest.raises(ValueError, match="3e[+]06 baud: a clock of 23 MHz makes at most an eighth of it, 2875000"):
        phase_step(23e6, 3e6)


def test_a_rate_that_the_divider_does_not_make_is_refused():
    """1200 baud at 108.33 MHz are 11.6 steps of the divider: 12 are 3 % faster."""
    assert phase_step(Fraction(325_000_000, 3), 10_000) == 97
    with pytest.raises(ValueError, match="1200 baud: a clock of 108.333 MHz makes no rate within 0.5% of it"):
        phase_step(Fraction(325_000_000, 3), 1200)
