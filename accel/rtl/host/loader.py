"""Fills the core's memories with a net: BEGIN_LOAD, LOAD, END_LOAD (docs/uart.md).

    BEGIN_LOAD   config (8)                        -> MATCH                                      -> DONE
    LOAD         index (4), entries of 11 bytes    -> MATCH, then for each entry ENTRY .. MORE   -> DONE
    END_LOAD     entries, check (8), net fields    -> MATCH, NET, SETTINGS, AREA .. SIZES        -> DONE
                 (12), settings (8)

What a command begins with has to match what is expected; both are compared byte after byte, the expected bytes read by
address. An entry is 11 bytes taken, as many cycles in which they are checked, and four more:

    cycle    0 .. 40      41      42          43 .. 53     54      55      56
    state    ENTRY        PLACE   JUDGE       CHECK        OFFER   MORE    ENTRY
    octets   11 taken                                                      the next
    load                                                   valid

An entry that is refused is not checked: the load may go on with another one in its place. The bytes of a picture are
not multiplied but added up, a line a cycle.
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
        Faults: CONFIG (another configuration), ORDER (not the next entry), LENGTH (half an entry at the end) and ENTRY
        (one whose word is in none of the memories), of both of which the entries before are loaded, IMAGE_CHECK
        (entries missing or damaged), SIZES (there are no entries, or the net's sizes fit no frame, not the device, or
        not each other)
    abandon : In(1): give the order up, with the net and the load, in a cycle in which a word is not taken
    octets : In(stream of 8 bits), left : In(16): the payload, from a `PayloadReader`. After a fault bytes are left
    load : Out(stream of isa.LoadWord): words of the entries, SETTINGS at the end
    net : Out(NetState): 0 while none is loaded
    loading : Out(1): from BEGIN_LOAD to the END_LOAD that is carried out
    load_next : Out(32): index of the next entry

    Time: 56 cycles an entry; 4 a byte otherwise, and up to 127 for the size of a picture. Resources: 301 flip-flops
    (the net 97, an entry 88, index and check 64), 690 LUT4.
    """
    def __init__(self, config: AccelConfig, *, net=None):
        self.config = config
        self.initial_net = net and {"loaded": 1, **net}
        super().__init__({
            "control": In(order_signature()), "abandon": In(1), "octets": In(stream.Signature(8)), "left": In(16),
            "load": Out(stream.Signature(isa.LoadWord)), "net": Out(NetState, init=self.initial_net),
            "loading": Out(1), "load_next": Out(32)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.image_crc = crc = frame_crc()
        octet, command, fault = self.octets.payload, self.control.order.p.command, self.control.fault
        config = self.config
        depths = {isa.Target.PROGRAM: config.program_depth, isa.Target.WEIGHTS: config.weight_depth,
                  isa.Target.THRESHOLDS: config.threshold_depth}
        word = Signal(link.LoadEntry)                       # an entry; the settings, where an entry has its data
        word_bits, net_bits = word.as_value(), self.net.as_value()[1:]
        position, final = Signal(range(NET_BYTES)), Signal()
        expected, differs = Signal(8), Signal()
        exhausted, short, settings = Signal(), Signal(), Signal()
        depth = Signal(range(max(depths.values()) + 1))     # of the entry's memory; 0 where it has none
        picture = isa.Settings(word.data[:Shape.cast(isa.Settings).width])
        rows, picture_bytes = Signal(isa.SIDE_BITS), Signal(16)
        sizes = Cat(
            self.load_next != 0, self.net.n_logits != 0, self.net.n_logits <= link.MAX_LOGITS,
            picture.width != 0, picture.width <= config.picture_width,
            picture.height != 0, picture.height <= config.picture_height,
            self.net.pixel_bytes == picture_bytes, self.net.pixel_bytes <= link.MAX_PAYLOAD)
        prefixes = {                                        # what a command begins with, and the fault if it does not
            link.Command.BEGIN_LOAD: (C(link.digest_number(self.config.digest()), 64), link.Fault.CONFIG),
            link.Command.LOAD: (self.load_next, link.Fault.ORDER),
            link.Command.END_LOAD: (Cat(self.load_next, crc.crc), link.Fault.IMAGE_CHECK)}

        def forget_net():
            m.d.sync += self.net.eq(0)

        m.d.comb += [crc.data.eq(word_bits[:8]), self.load.p.target.eq(Mux(settings, isa.Target.SETTINGS, word.target)),
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
                            forget_net()
                            m.d.sync += [self.loading.eq(1), self.load_next.eq(0)]
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
                take(word_bits, ENTRY_BYTES, "PLACE")
            with m.State("PLACE"):
                with m.Switch(word.target):
                    for target, words in depths.items():
                        with m.Case(target.value):
                            m.d.sync += depth.eq(words)
                    with m.Default():
                        m.d.sync += depth.eq(0)
                m.next = "JUDGE"
            with m.State("JUDGE"):
                m.next = "CHECK"
                with m.If(word.address >= depth):
                    m.d.sync += fault.eq(link.Fault.ENTRY)
                    m.next = "DONE"
            with m.State("CHECK"):                          # once round
                m.d.comb += crc.valid.eq(1)
                m.d.sync += [word_bits.eq(word_bits.rotate_right(8)), position.eq(position + 1)]
                with m.If(position == ENTRY_BYTES - 1):
                    m.d.sync += position.eq(0)
                    m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += self.load.valid.eq(1)
                with m.If(self.load.ready):
                    m.d.sync += self.load_next.eq(self.load_next + 1)
                    m.next = "MORE"
                with m.Elif(self.abandon):
                    m.next = "IDLE"

            # The check has held. The fields are the net's before it is `loaded`: nobody else sees them until then.
            with m.State("NET"):
                take(net_bits, NET_BYTES, "SETTINGS")
            with m.State("SETTINGS"):
                m.d.sync += [settings.eq(1), rows.eq(0), picture_bytes.eq(0)]
                take(word_bits, SETTINGS_BYTES, "AREA")
            with m.State("AREA"):
                with m.If(rows == picture.height):
                    m.next = "SIZES"
                with m.Else():
                    m.d.sync += [rows.eq(rows + 1),
                                 picture_bytes.eq(picture_bytes + picture.width + (picture.width << 1))]
            with m.State("SIZES"):
                m.next = "OFFER_SETTINGS"
                with m.If(~sizes.all()):
                    forget_net()
                    m.d.sync += fault.eq(link.Fault.SIZES)
                    m.next = "DONE"
            with m.State("OFFER_SETTINGS"):
                m.d.comb += self.load.valid.eq(1)
                with m.If(self.load.ready):
                    m.d.sync += [self.net.loaded.eq(1), self.loading.eq(0)]
                    m.next = "DONE"
                with m.Elif(self.abandon):
                    m.next = "IDLE"

            with m.State("DONE"):
                m.d.comb += self.control.order.ready.eq(1)
                m.next = "IDLE"

        with m.If(self.abandon):
            forget_net()
            m.d.sync += self.loading.eq(0)
        return m
