"""Sends a net's tape to the core: BEGIN_LOAD, LOAD, END_LOAD; and MEMORY_TEST (docs/uart.md).

    BEGIN_LOAD    config (8), tape and chunks (12)   -> MATCH, TAPE, JUDGE       BEGIN                   -> DONE
    LOAD          offset (4), pairs of bytes         -> MATCH, FIT, LOW .. MORE  WORD for each pair      -> DONE
    END_LOAD      check, resident (5), net (13)      -> CHECK, NET, SIZES        CHECK, CHECK, PLAY      -> AWAIT, DONE
    MEMORY_TEST   seed (2)                           -> LOW, HIGH                TEST                    -> DONE

What BEGIN_LOAD and LOAD begin with has to match what is expected; both are compared byte after byte, the expected bytes
read by address. The tape's name and length take the place of the former ones as they are compared with them. A word is
two bytes taken, and three more cycles in which the payload's reader fetches the next one:

    cycle    0      4       5       6      7        8
    state    LOW    HIGH    WORD    MORE   LOW
    octets   taken  taken                           the next
    load                    valid
"""
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, link
from accel.config import AccelConfig

from .commands import order_signature

__all__ = ["Loader", "NetState"]

CHUNK_SHIFT = (link.CHUNK_BYTES - 1).bit_length()


class NetState(data.Struct):
    """The net in the core."""
    loaded: 1
    net: 64
    n_logits: 16
    pixels: 16
    batch: 8


class TapeState(data.Struct):
    """The tape that is loaded, or was last, as BEGIN_LOAD names it."""
    tape: 64
    chunks: 32


class CheckState(data.Struct):
    """What END_LOAD begins with."""
    check: 32
    resident: 8


NET_BYTES, TAPE_BYTES, CHECK_BYTES = link.size(NetState), link.size(TapeState), link.size(CheckState)


class Loader(wiring.Component):
    """Carries out the commands of a load and of the memory's test.

    Parameters
    ----------
    config : AccelConfig: the nets it takes are compiled for it
    net : dict of `NetState` fields of the net that the core holds at configuration, or None

    Members
    -------
    control : the orders BEGIN_LOAD, LOAD, END_LOAD (when `complete`) and MEMORY_TEST, whose payload has the right
        length (LOAD: its offset and pairs of bytes). Faults: CONFIG (another configuration), ORDER (not the next
        bytes), LENGTH (more than the tape has), SIZES (no chunks, or more than any device has; or the net's sizes fit
        no frame, or not the device), IMAGE_CHECK (the core found the tape damaged)
    abandon : In(1): give the order up, in a cycle in which a word is not taken; the load goes with it
    drop : In(1): there is no net any more, and no load
    octets : In(stream of 8 bits), left : In(16): the payload, from a `PayloadReader`. After a fault bytes are left
    load : Out(stream of isa.LoadWord)
    whole, damaged, tested : In(1): the core's
    awaits : Out(1): the core checks the tape
    net : Out(NetState): 0 while none is loaded
    chunks : Out(16): of its tape, where it was loaded; 0 where the core holds it since its configuration
    loading : Out(1): from BEGIN_LOAD to the END_LOAD that sends the check
    complete : Out(1): the core has all bytes of the tape
    load_next : Out(32): offset of the next byte; tape : Out(64), of the load that goes on or was last
    testing : Out(1), memory_state : Out(link.MemoryState): of the memory's test

    BEGIN_LOAD with the tape of the load that goes on leaves that as it is; any other begins from nothing.

    Time: 8 cycles a word. Resources: 328 flip-flops (the net 105, the tape 112, check and flags 40), 430 LUT4.
    """
    def __init__(self, config: AccelConfig, *, net=None):
        self.config = config
        self.initial_net = net and {"loaded": 1, **net}
        super().__init__({
            "control": In(order_signature()), "abandon": In(1), "drop": In(1),
            "octets": In(stream.Signature(8)), "left": In(16), "load": Out(stream.Signature(isa.LoadWord)),
            "whole": In(1), "damaged": In(1), "tested": In(1), "awaits": Out(1),
            "net": Out(NetState, init=self.initial_net), "chunks": Out(16),
            "loading": Out(1), "complete": Out(1), "load_next": Out(32),
            "tape": Out(64), "testing": Out(1), "memory_state": Out(link.MemoryState)})

    def elaborate(self, platform):
        m = Module()
        octet, command, fault = self.octets.payload, self.control.order.p.command, self.control.fault
        config = self.config
        tape, ending, word = Signal(TapeState), Signal(CheckState), Signal(16)
        at, end = Signal(range(link.SDRAM_BYTES + 1)), Signal(range(link.SDRAM_BYTES + 1))      # of the tape, in bytes
        position, final = Signal(range(TAPE_BYTES + 1)), Signal()
        expected, differs, exhausted, tested_before = Signal(8), Signal(), Signal(), Signal()
        m.d.comb += [end.eq(tape.chunks << CHUNK_SHIFT), self.load_next.eq(at), self.tape.eq(tape.tape),
                     self.testing.eq(self.memory_state == link.MemoryState.RUNNING)]
        m.d.sync += [exhausted.eq(self.left == 0), self.complete.eq(at == end)]
        prefixes = {                                        # what a command begins with, and the fault if it does not
            link.Command.BEGIN_LOAD: (C(link.digest_number(config.digest()), 64), link.Fault.CONFIG),
            link.Command.LOAD: (self.load_next, link.Fault.ORDER)}
        sizes = Cat(self.net.n_logits != 0, self.net.n_logits <= link.MAX_LOGITS, self.net.pixels != 0,
                    self.net.pixels <= link.MAX_PIXELS, self.net.batch != 0, self.net.batch <= link.MAX_BATCH,
                    ending.resident[0] if config.sdram_hz is None else C(1))

        forget = [self.net.eq(0), self.loading.eq(0)]

        def take(register, octets, following):
            """Bytes into a register, the first into its lowest bits, then the next state."""
            m.d.comb += self.octets.ready.eq(1)
            with m.If(self.octets.valid):
                m.d.sync += [register.eq(Cat(register[8:], octet)), position.eq(position + 1)]
                with m.If(position == octets - 1):
                    m.d.sync += position.eq(0)
                    m.next = following

        def give_up_when_told():
            with m.If(self.abandon):
                m.d.sync += forget
                m.next = "IDLE"

        def offer(kind, value, following, *effects):
            """A word to the core; when it is taken, `effects` and the next state."""
            m.d.comb += [self.load.valid.eq(1), self.load.p.kind.eq(kind), self.load.p.data.eq(value)]
            give_up_when_told()
            with m.If(self.load.ready):
                m.d.sync += effects
                m.next = following

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [position.eq(0), differs.eq(0), fault.eq(link.Fault.NONE)]
                with m.If(self.control.order.valid):
                    m.next = "EXPECT"
                    with m.If(command == link.Command.END_LOAD):
                        m.next = "CHECK"
                    with m.If(command == link.Command.MEMORY_TEST):
                        m.next = "LOW"
            with m.State("EXPECT"):
                with m.Switch(command):
                    for name, (prefix, _) in prefixes.items():
                        with m.Case(name):
                            m.d.sync += [expected.eq(prefix.word_select(position, 8)),
                                         final.eq(position == len(prefix) // 8 - 1)]
                m.next = "MATCH"
            with m.State("MATCH"):
                m.d.comb += self.octets.ready.eq(1)
                with m.If(self.octets.valid):
                    m.d.sync += [differs.eq(differs | (octet != expected)), position.eq(position + 1)]
                    m.next = "EXPECT"
                    with m.If(final):
                        m.next = "MATCHED"
            with m.State("MATCHED"):
                m.d.sync += position.eq(0)
                with m.If(differs):
                    with m.Switch(command):
                        for name, (_, mismatch) in prefixes.items():
                            with m.Case(name):
                                m.d.sync += fault.eq(mismatch)
                    m.next = "DONE"
                with m.Elif(command == link.Command.BEGIN_LOAD):
                    m.next = "TAPE"
                with m.Else():
                    m.next = "FIT"

            with m.State("TAPE"):
                with m.If(self.octets.valid):
                    m.d.sync += differs.eq(differs | (octet != tape.as_value()[:8]))
                take(tape.as_value(), TAPE_BYTES, "JUDGE")
            with m.State("JUDGE"):
                m.next = "DONE"
                with m.If((tape.chunks == 0) | (tape.chunks > link.MAX_CHUNKS)):
                    m.d.sync += [self.loading.eq(0), fault.eq(link.Fault.SIZES)]
                with m.Elif(differs | ~self.loading):
                    m.d.sync += [*forget, at.eq(0)]
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                offer(isa.LoadKind.BEGIN, 0, "DONE", self.loading.eq(1))

            with m.State("FIT"):                            # two cycles after a byte: `left` is the words' alone
                m.next = "LOW"
                with m.If(at + self.left > end):
                    m.d.sync += fault.eq(link.Fault.LENGTH)
                    m.next = "DONE"
            with m.State("LOW"):
                take(word, 1, "HIGH")
            with m.State("HIGH"):
                take(word, 1, "WORD")
                with m.If(command == link.Command.MEMORY_TEST):
                    with m.If(self.octets.valid):
                        m.next = "TEST"
            with m.State("WORD"):
                offer(isa.LoadKind.WORD, word, "MORE", at.eq(at + 2))
            with m.State("MORE"):                           # two cycles after a byte: `left` is compared
                m.next = "LOW"
                with m.If(exhausted):
                    m.next = "DONE"
            with m.State("TEST"):
                offer(isa.LoadKind.TEST, word, "DONE", *forget, self.memory_state.eq(link.MemoryState.RUNNING),
                      tested_before.eq(1))

            # The fields are the net's before it is `loaded`: nobody else sees them until then.
            with m.State("CHECK"):
                take(ending.as_value(), CHECK_BYTES, "NET")
            with m.State("NET"):
                take(self.net.as_value()[1:], NET_BYTES, "SIZES")
            with m.State("SIZES"):
                m.next = "CHECK_LOW"
                with m.If(~sizes.all()):
                    m.d.sync += [self.net.eq(0), fault.eq(link.Fault.SIZES)]
                    m.next = "DONE"
            with m.State("CHECK_LOW"):
                offer(isa.LoadKind.CHECK, ending.check[:16], "CHECK_HIGH")
            with m.State("CHECK_HIGH"):
                offer(isa.LoadKind.CHECK, ending.check[16:], "PLAY")
            with m.State("PLAY"):
                play = Signal(isa.Play)
                m.d.comb += [play.last.eq(tape.chunks - 1), play.resident.eq(ending.resident[0])]
                offer(isa.LoadKind.PLAY, play, "AWAIT", self.loading.eq(0), self.chunks.eq(tape.chunks))
            with m.State("AWAIT"):
                m.d.comb += self.awaits.eq(1)
                give_up_when_told()
                with m.If(self.whole):
                    m.d.sync += self.net.loaded.eq(1)
                    m.next = "DONE"
                with m.If(self.damaged):
                    m.d.sync += [*forget, fault.eq(link.Fault.IMAGE_CHECK)]
                    m.next = "DONE"

            with m.State("DONE"):
                m.d.comb += self.control.order.ready.eq(1)
                m.next = "IDLE"

        # `tested` may still be up of the test before.
        with m.If(self.testing & ~self.tested):
            m.d.sync += tested_before.eq(0)
        with m.If(self.testing & self.tested & ~tested_before):
            m.d.sync += self.memory_state.eq(link.MemoryState.DONE)
        with m.If(self.drop):
            m.d.sync += forget
        return m
