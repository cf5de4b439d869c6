"""Carries out the commands of the UART protocol (docs/uart.md): fills the core's memories, hands it pictures, answers.

    FrameReceiver --request--> Controller --reply--> FrameSender
         |                      |   ^
         +--> payload buffer ---+   +-- logits, cycles --- Core <-- load words, pixels
"""
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, link
from accel.config import AccelConfig

from .framing import Request, frame_crc

__all__ = ["Controller", "NetState"]

ENTRY_BYTES = link.size(link.LoadEntry)


class NetState(data.Struct):
    """The net in the core's memories."""
    loaded: 1
    net: 64
    n_logits: 16
    pixel_bytes: 16


class Controller(wiring.Component):
    """One command at a time; pictures overlap: one computed, one waiting.

    Parameters
    ----------
    config : AccelConfig; clock_hz, baud : for INFO
    net : dict of `NetState` fields of the net that the memories hold at configuration, or None

    Members
    -------
    request : In(stream of Request)
    buffer_address : Out, buffer_data : In(8), two cycles later: the request's payload
    reading : Out(1): the payload from buffer_address on is still wanted
    header, payload : Out: a reply, to the FrameSender
    load, pixels, logits, cycles : the core's
    counters : In(link.Status): those of the receiver; the controller fills in the rest
    leds : Out(8): 0 .. 6 the last picture's class, 7 while a picture is being classified

    A payload byte takes 4 cycles. Results go first: a command waits while one is sent.
    """
    def __init__(self, config: AccelConfig, *, clock_hz, baud, net=None):
        self.config, self.clock_hz, self.baud = config, clock_hz, baud
        self.net = net and {"loaded": 1, **net}
        super().__init__({
            "request": In(stream.Signature(Request)),
            "buffer_address": Out(range(link.MAX_PAYLOAD)), "buffer_data": In(8), "reading": Out(1),
            "header": Out(stream.Signature(link.Header)), "payload": Out(stream.Signature(8)),
            "load": Out(stream.Signature(isa.LoadWord)), "pixels": Out(stream.Signature(isa.PixelWord)),
            "logits": In(stream.Signature(isa.LogitWord)), "cycles": In(32),
            "counters": In(link.Status), "leds": Out(8)})

    def elaborate(self, platform):
        m = Module()
        net, outstanding = Signal(NetState, init=self.net), Signal(2)
        sequences = Signal(data.ArrayLayout(8, link.WINDOW))             # of the pictures in flight, oldest first
        request = Signal(Request)
        loading, load_next, images = Signal(), Signal(32), Signal(16)   # loading: since BEGIN_LOAD, until END_LOAD
        m.submodules.image_crc = crc = frame_crc()

        # The payload, byte after byte, into a register of the longest thing that is read at once.
        word = Signal(8 * ENTRY_BYTES)
        left, wanted = Signal(16), Signal(range(ENTRY_BYTES + 1))
        entry = link.LoadEntry(word)

        answer, fault = Signal(link.Command, init=link.Command.INFO), Signal(link.Fault)
        payloads = {link.Command.INFO: self._info(m, net).as_value(),
                    link.Command.STATUS: self._status(m, net, outstanding, load_next, images).as_value(),
                    link.Command.RESET: C(0, 0), link.Command.BEGIN_LOAD: C(0, 0), link.Command.LOAD: load_next,
                    link.Command.END_LOAD: C(0, 0), link.Command.ERROR: fault}
        text = Signal(max(map(len, payloads.values())))                 # what is left of a reply's payload
        text_bytes = Signal(range(len(text) // 8 + 1))

        def begin_reply(kind, octets):
            m.d.sync += [self.header.valid.eq(1), self.header.p.version.eq(link.PROTOCOL),
                         self.header.p.kind.eq(kind.value | link.REPLY),
                         self.header.p.sequence.eq(request.sequence), self.header.p.length.eq(octets)]

        def reply(kind):
            """What to answer is decided here, and put together a cycle later: `text` has many sources."""
            m.d.sync += [answer.eq(kind), self.reading.eq(0)]
            m.next = "COMPOSE"

        def refuse(reason):
            m.d.sync += fault.eq(reason)
            reply(link.Command.ERROR)

        def read(octets, following):
            """The next bytes of the payload into the upper end of `word`, then `following`."""
            if following not in after:
                after.append(following)
            m.d.sync += [wanted.eq(octets), left.eq(left - octets), resume.eq(after.index(following))]
            m.next = "READ"

        after, resume = [], Signal(4)                                   # states that follow a read
        new, check = Signal(NetState), Signal(64)
        same_config, same_index, same_image, short_entry = Signal(), Signal(), Signal(), Signal()
        right_length, whole_index, whole_picture = Signal(), Signal(), Signal()
        faulty, busy, window_full = Signal(), Signal(), Signal()
        asked = {command: Signal(name=f"asked_{command.name.lower()}") for command in link.Command}
        logit, best, best_index = Signal(signed(32)), Signal(signed(32)), Signal(16)
        index, cycles = Signal(16), Signal(32)
        better = Signal()
        sending, discard, last = Signal(), Signal(), Signal()           # a picture's answer is sent, is dropped
        with m.If(self.header.ready):
            m.d.sync += self.header.valid.eq(0)
        m.d.comb += [self.leds[7].eq(outstanding != 0), crc.data.eq(self.buffer_data)]

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [self.buffer_address.eq(0), index.eq(0), sending.eq(0)]
                with m.If(self.logits.valid):
                    m.d.sync += request.sequence.eq(sequences[0])
                    m.next = "RESULT"
                with m.Elif(self.request.valid):
                    m.d.comb += self.request.ready.eq(1)
                    m.d.sync += [request.eq(self.request.payload), left.eq(self.request.p.length),
                                 self.reading.eq(1)]
                    m.next = "MEASURE"
            with m.State("MEASURE"):            # a cycle for the comparisons: what follows decides by single bits
                m.d.sync += [
                    right_length.eq(Array([request.length == link.size(layout) for layout in (
                        link.BeginLoad, link.EndLoad)])[request.kind == link.Command.END_LOAD]),
                    whole_index.eq(request.length >= link.size(link.LoadIndex)),
                    whole_picture.eq(request.length == net.pixel_bytes),
                    faulty.eq(request.fault != link.Fault.NONE), busy.eq(outstanding != 0),
                    window_full.eq(outstanding == link.WINDOW),
                    *(flag.eq(request.kind == command) for command, flag in asked.items())]
                m.next = "DISPATCH"
            with m.State("DISPATCH"):
                with m.If(faulty):
                    refuse(request.fault)
                with m.Elif(asked[link.Command.INFO]):
                    reply(link.Command.INFO)
                with m.Elif(asked[link.Command.STATUS]):
                    reply(link.Command.STATUS)
                with m.Elif(asked[link.Command.RESET]):
                    m.d.sync += [discard.eq(1), self.reading.eq(0)]
                    m.next = "DISCARD"
                with m.Elif(asked[link.Command.BEGIN_LOAD]):
                    with m.If(busy):
                        refuse(link.Fault.BUSY)
                    with m.Elif(~right_length):
                        refuse(link.Fault.LENGTH)
                    with m.Else():
                        read(link.size(link.BeginLoad), "BEGIN_LOAD")
                with m.Elif(asked[link.Command.LOAD]):
                    with m.If(busy):
                        refuse(link.Fault.BUSY)
                    with m.Elif(~loading):
                        refuse(link.Fault.ORDER)
                    with m.Elif(~whole_index):
                        refuse(link.Fault.LENGTH)
                    with m.Else():
                        read(link.size(link.LoadIndex), "LOAD_INDEX")
                with m.Elif(asked[link.Command.END_LOAD]):
                    with m.If(~loading):
                        refuse(link.Fault.ORDER)
                    with m.Elif(~right_length):
                        refuse(link.Fault.LENGTH)
                    with m.Else():
                        read(8, "END_CHECK")
                with m.Elif(asked[link.Command.INFER]):
                    with m.If(~net.loaded):
                        refuse(link.Fault.NOT_LOADED)
                    with m.Elif(~whole_picture):
                        refuse(link.Fault.LENGTH)
                    with m.Elif(window_full):
                        refuse(link.Fault.BUSY)
                    with m.Else():
                        m.d.sync += [sequences[outstanding[:1]].eq(request.sequence),
                                     outstanding.eq(outstanding + 1)]
                        read(3, "PIXEL")
                with m.Else():
                    refuse(link.Fault.COMMAND)

            # Loading. The check is over the bytes of all entries, as they are read from the buffer.
            with m.State("BEGIN_LOAD"):
                with m.If(~same_config):
                    refuse(link.Fault.CONFIG)
                with m.Else():
                    m.d.comb += crc.start.eq(1)
                    m.d.sync += [net.loaded.eq(0), loading.eq(1), load_next.eq(0)]
                    reply(link.Command.BEGIN_LOAD)
            with m.State("LOAD_INDEX"):
                with m.If(~same_index):
                    refuse(link.Fault.ORDER)
                with m.Else():
                    m.next = "LOAD_MORE"
            with m.State("LOAD_MORE"):
                with m.If(left == 0):
                    reply(link.Command.LOAD)
                with m.Elif(short_entry):
                    refuse(link.Fault.LENGTH)
                with m.Else():
                    read(ENTRY_BYTES, "LOAD_ENTRY")
            with m.State("LOAD_ENTRY"):
                m.d.comb += [self.load.valid.eq(entry.target < isa.Target.SETTINGS.value),
                             self.load.p.target.eq(entry.target), self.load.p.address.eq(entry.address),
                             self.load.p.data.eq(entry.data)]
                with m.If(self.load.ready | ~self.load.valid):
                    m.d.sync += load_next.eq(load_next + 1)
                    m.next = "LOAD_MORE"
            with m.State("END_CHECK"):
                m.d.sync += check.eq(word[-64:])
                read(8, "END_NET")
            with m.State("END_NET"):
                m.d.sync += new.net.eq(word[-64:])
                read(4, "END_SHAPE")
            with m.State("END_SHAPE"):
                m.d.sync += [new.n_logits.eq(word[-32:-16]), new.pixel_bytes.eq(word[-16:]), new.loaded.eq(1)]
                read(8, "END_SETTINGS")
            with m.State("END_SETTINGS"):
                with m.If(~same_image):
                    refuse(link.Fault.IMAGE_CHECK)
                with m.Else():
                    m.d.comb += [self.load.valid.eq(1), self.load.p.target.eq(isa.Target.SETTINGS),
                                 self.load.p.data.eq(word[-64:])]
                    with m.If(self.load.ready):
                        m.d.sync += [net.eq(new), loading.eq(0)]
                        reply(link.Command.END_LOAD)

            with m.State("PIXEL"):
                m.d.comb += [self.pixels.valid.eq(1), self.pixels.payload.eq(word[-24:])]
                with m.If(self.pixels.ready):
                    with m.If(left == 0):
                        m.d.sync += self.reading.eq(0)
                        m.next = "IDLE"
                    with m.Else():
                        read(3, "PIXEL")

            with m.State("READ"):
                m.next = "READ_WAIT"
            with m.State("READ_WAIT"):
                m.next = "READ_TAKE"
            with m.State("READ_TAKE"):
                m.d.comb += crc.valid.eq(resume == after.index("LOAD_ENTRY"))
                m.d.sync += [word.eq(Cat(word[8:], self.buffer_data)), wanted.eq(wanted - 1),
                             self.buffer_address.eq(self.buffer_address + 1)]
                m.next = "READ_NEXT"
            with m.State("READ_NEXT"):
                m.d.sync += [same_config.eq(word[-64:] == link.digest_number(self.config.digest())),
                             same_index.eq(word[-32:] == load_next), same_image.eq(check == Cat(load_next, crc.crc)),
                             short_entry.eq(left < ENTRY_BYTES)]
                with m.If(wanted != 0):
                    m.next = "READ"
                with m.Else():
                    with m.Switch(resume):
                        for number, following in enumerate(after):
                            with m.Case(number):
                                m.next = following

            # A picture's answer: logits as the core gives them, then class and cycles.
            with m.State("RESULT"):
                begin_reply(link.Command.INFER, (net.n_logits << 2) + link.RESULT_TAIL)
                m.d.sync += sending.eq(1)
                m.next = "LOGIT"
            with m.State("LOGIT"):
                m.d.comb += self.logits.ready.eq(1)
                with m.If(self.logits.valid):
                    m.d.sync += [logit.eq(self.logits.p.logit), last.eq(self.logits.p.last), cycles.eq(self.cycles)]
                    m.next = "COMPARE"
            with m.State("COMPARE"):
                m.d.sync += [text.eq(logit), text_bytes.eq(4), better.eq((index == 0) | (logit > best))]
                m.next = "CHOOSE"
            with m.State("CHOOSE"):
                m.d.sync += index.eq(index + 1)
                with m.If(better):
                    m.d.sync += [best.eq(logit), best_index.eq(index)]
                m.next = "TEXT"
                with m.If(discard):
                    m.next = "DISCARD"
                    with m.If(last):
                        m.next = "PICTURE_DONE"
                with m.Elif(last):
                    m.next = "LAST_LOGIT"
            with m.State("LAST_LOGIT"):
                m.d.sync += [text.eq(Cat(logit, best_index, cycles)), text_bytes.eq(4 + link.RESULT_TAIL),
                             self.leds[:7].eq(best_index)]
                m.next = "TEXT"
            with m.State("PICTURE_DONE"):
                m.d.sync += [outstanding.eq(outstanding - 1), sequences[0].eq(sequences[1]), index.eq(0), sending.eq(0),
                             images.eq(images + ~discard)]
                m.next = "IDLE"
                with m.If(discard):
                    m.next = "DISCARD"
            with m.State("DISCARD"):
                with m.If(outstanding == 0):
                    m.d.sync += discard.eq(0)
                    reply(link.Command.RESET)
                with m.Elif(self.logits.valid):
                    m.next = "LOGIT"

            with m.State("COMPOSE"):
                with m.Switch(answer):
                    for kind, payload in payloads.items():
                        with m.Case(kind):
                            begin_reply(kind, len(payload) // 8)
                            m.d.sync += [text.eq(payload), text_bytes.eq(len(payload) // 8)]
                m.next = "TEXT"
            with m.State("TEXT"):
                m.d.comb += [self.payload.valid.eq((text_bytes != 0) & ~self.header.valid),
                             self.payload.payload.eq(text[:8])]
                with m.If(self.payload.valid & self.payload.ready):
                    m.d.sync += [text.eq(text[8:]), text_bytes.eq(text_bytes - 1)]
                with m.Elif((text_bytes == 0) & ~self.header.valid):
                    m.next = "IDLE"
                    with m.If(sending):
                        m.next = "LOGIT"
                        with m.If(last):
                            m.next = "PICTURE_DONE"
        return m

    def _info(self, m, net):
        info = Signal(link.Info)
        m.d.comb += info.eq(data.Layout.cast(link.Info).const(
            link.info_of(self.config, clock_hz=self.clock_hz, baud=self.baud)))
        m.d.comb += [info[name].eq(net[name]) for name in ("loaded", "net", "n_logits", "pixel_bytes")]
        return info

    def _status(self, m, net, outstanding, load_next, images):
        status = Signal(link.Status)
        m.d.comb += [status.eq(self.counters), status.images.eq(images), status.load_next.eq(load_next),
                     status.outstanding.eq(outstanding), status.loaded.eq(net.loaded)]
        return status
