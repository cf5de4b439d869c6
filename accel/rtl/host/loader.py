"""Fills the core's memories with a net: BEGIN_LOAD, LOAD, END_LOAD (docs/uart.md).

    BEGIN_LOAD   config (8)                        -> MATCH                                      -> DONE
    LOAD         index (4), entries of 11 bytes    -> MATCH, then for each entry ENTRY .. MORE   -> DONE
    END_LOAD     entries, check (8), net fields    -> MATCH, NET, SETTINGS                       -> DONE
                 (12), settings (8)

What a command begins with has to match what is expected; both are compared byte after byte, the expected bytes read by
address. An entry is 11 bytes taken and three cycles, in which the payload's reader fetches the next one:

    cycle    0 .. 40      41      42      43      44
    state    ENTRY        JUDGE   OFFER   MORE    ENTRY
    octets   11 taken                             the next
    load                          valid
"""
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, link
from accel.config import AccelConfig

from .commands import order_signature
from .framing import frame_crc

__all__ = ["Loader", "NetState"]

ENTRY_BYTES = link.size(link.LoadEntry)


class NetState(data.Struct):
    """The net in the core's memories."""
    loaded: 1
    net: 64
    n_logits: 16
    pixel_bytes: 16


NET_BYTES = link.size(NetState)                             # `loaded`, a bit, does not come over the line
SETTINGS_BYTES = 8


class Loader(wiring.Component):
    """Carries out the commands of a load.

    Parameters
    ----------
    config : AccelConfig: the nets it takes are compiled for it
    net : dict of `NetState` fields of the net that the memories hold at configuration, or None

    Members
    -------
    control : the orders BEGIN_LOAD, LOAD and END_LOAD, whose payload has the right length (LOAD: at least its index).
        Faults: CONFIG (another configuration), ORDER (not the next entry), LENGTH (half an entry at the end; the whole
        ones before it are loaded), IMAGE_CHECK (entries missing or damaged)
    octets : In(stream of 8 bits), left : In(16): the payload, from a `PayloadReader`. After a fault bytes are left
    load : Out(stream of isa.LoadWord): words of the entries, SETTINGS at the end; entries for anything else than the
        program, weights and thresholds are counted and passed over
    net : Out(NetState): its fields but `loaded` stay those of the net before until END_LOAD
    loading : Out(1): from BEGIN_LOAD to END_LOAD
    load_next : Out(32): index of the next entry

    Time: 44 cycles an entry, 4 a byte otherwise. The check is over the bytes of whole entries, as they are taken.
    Resources: 275 flip-flops (the net 97, an entry 88, index and check 64), 350 LUT4.
    """
    def __init__(self, config: AccelConfig, *, net=None):
        self.config = config
        self.initial_net = net and {"loaded": 1, **net}
        super().__init__({
            "control": In(order_signature()), "octets": In(stream.Signature(8)), "left": In(16),
            "load": Out(stream.Signature(isa.LoadWord)), "net": Out(NetState, init=self.initial_net),
            "loading": Out(1), "load_next": Out(32)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.image_crc = crc = frame_crc()
        octet, command, fault = self.octets.payload, self.control.order.p.command, self.control.fault
        word = Signal(link.LoadEntry)                       # an entry; the settings, where an entry has its data
        word_bits, net_bits = word.as_value(), self.net.as_value()[1:]
        position, final = Signal(range(NET_BYTES)), Signal()
        expected, differs = Signal(8), Signal()
        exhausted, short, known_target, settings = Signal(), Signal(), Signal(), Signal()
        prefixes = {                                        # what a command begins with, and the fault if it does not
            link.Command.BEGIN_LOAD: (C(link.digest_number(self.config.digest()), 64), link.Fault.CONFIG),
            link.Command.LOAD: (self.load_next, link.Fault.ORDER),
            link.Command.END_LOAD: (Cat(self.load_next, crc.crc), link.Fault.IMAGE_CHECK)}

        m.d.comb += [crc.data.eq(octet), self.load.p.target.eq(Mux(settings, isa.Target.SETTINGS, word.target)),
                     self.load.p.address.eq(Mux(settings, 0, word.address)), self.load.p.data.eq(word.data)]
        m.d.sync += [exhausted.eq(self.left == 0), short.eq(self.left < ENTRY_BYTES)]

        def take(register, octets, following):
            """Bytes into a register, the first into its lowest bits, then the next state."""
            m.d.comb += self.octets.ready.eq(1)
            with m.If(self.octets.valid):
                m.d.sync += [register.eq(Cat(register[8:], octet)), position.eq(position + 1)]
                with m.If(position == octets - 1):
                    m.d.sync += position.eq(0)
                    m.next = following

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [position.eq(0), differs.eq(0), settings.eq(0), fault.eq(link.Fault.NONE)]
                with m.If(self.control.order.valid):
                    m.next = "EXPECT"
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
                m.next = "DONE"
                with m.If(differs):
                    with m.Switch(command):
                        for name, (_, mismatch) in prefixes.items():
                            with m.Case(name):
                                m.d.sync += fault.eq(mismatch)
                with m.Else():
                    with m.Switch(command):
                        with m.Case(link.Command.BEGIN_LOAD):
                            m.d.comb += crc.start.eq(1)
                            m.d.sync += [self.net.loaded.eq(0), self.loading.eq(1), self.load_next.eq(0)]
                        with m.Case(link.Command.LOAD):
                            m.next = "MORE"
                        with m.Case(link.Command.END_LOAD):
                            m.next = "NET"

            with m.State("MORE"):                           # two cycles after a byte: `left` is compared
                with m.If(exhausted):
                    m.next = "DONE"
                with m.Elif(short):
                    m.d.sync += fault.eq(link.Fault.LENGTH)
                    m.next = "DONE"
                with m.Else():
                    m.next = "ENTRY"
            with m.State("ENTRY"):
                m.d.comb += crc.valid.eq(self.octets.valid)
                take(word_bits, ENTRY_BYTES, "JUDGE")
            with m.State("JUDGE"):
                m.d.sync += known_target.eq(word.target < isa.Target.SETTINGS.value)
                m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += self.load.valid.eq(known_target)
                with m.If(self.load.ready | ~known_target):
                    m.d.sync += self.load_next.eq(self.load_next + 1)
                    m.next = "MORE"

            # The check has held: nothing stands in the way of the new net's fields any more.
            with m.State("NET"):
                take(net_bits, NET_BYTES, "SETTINGS")
            with m.State("SETTINGS"):
                m.d.sync += settings.eq(1)
                take(word_bits, SETTINGS_BYTES, "OFFER_SETTINGS")
            with m.State("OFFER_SETTINGS"):
                m.d.comb += self.load.valid.eq(1)
                with m.If(self.load.ready):
                    m.d.sync += [self.net.loaded.eq(1), self.loading.eq(0)]
                    m.next = "DONE"

            with m.State("DONE"):
                m.d.comb += self.control.order.ready.eq(1)
                m.next = "IDLE"
        return m
