"""Answers: a header, then bytes that are read by address.

    address    0 .. 57   58 .. 95   96 .. 99    100 .. 119   120
    bytes      Info      Status     load_next   RunResults   Fault

    cycle      0    1       2        3       4      5       6
    state      IDLE HEADER  FETCH    SEND    FETCH  SEND    ...
    header          valid
    payload                          byte 0         byte 1
"""
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel import link
from accel.config import AccelConfig

from .loader import NetState
from .picture_answer import AnswerByte

__all__ = ["Replies", "Reply"]


class Reply(data.Struct):
    """What is to be answered. kind: the command, or ERROR with its fault."""
    kind: link.Command
    sequence: 8
    fault: link.Fault


class Replies(wiring.Component):
    """Puts answers together.

    Parameters
    ----------
    config : AccelConfig; clock_hz, baud : for INFO

    Members
    -------
    reply : In(stream of Reply): on offer until the last byte of its answer has gone, then taken
    net : In(NetState), status : In(link.Status): contents of INFO, STATUS and of the answer to
        BEGIN_LOAD; results : In(link.RunResults): of RESULTS
    answer : In(stream of AnswerByte): payload of an answer to INFER; labels : In(stream of AnswerByte),
        labels_length : In(16): of an answer to LABELS
    header : Out(stream of link.Header); payload : Out(stream of 8 bits): the payload follows its header

    Time: a byte each 2 cycles; bytes of an answer to INFER or LABELS pass through within a cycle. Two bytes are read
    at once, so a counter is one number though it goes on counting. Resources: 51 flip-flops, 500 LUT4, most of them
    the multiplexer of the bytes, whose constant inputs fold.
    """
    def __init__(self, config: AccelConfig, *, clock_hz, baud):
        self.config, self.clock_hz, self.baud = config, clock_hz, baud
        super().__init__({
            "reply": In(stream.Signature(Reply)), "net": In(NetState), "status": In(link.Status),
            "results": In(link.RunResults), "answer": In(stream.Signature(AnswerByte)),
            "labels": In(stream.Signature(AnswerByte)), "labels_length": In(16),
            "header": Out(stream.Signature(link.Header)), "payload": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        reply, header = self.reply.p, self.header.p
        info = Signal(link.Info)
        fixed = link.info_of(self.config, clock_hz=self.clock_hz, baud=self.baud)
        m.d.comb += [info.eq(data.Layout.cast(link.Info).const(fixed)),
                     *(info[name].eq(self.net[name]) for name in ("loaded", "net", "n_logits", "batch")),
                     # Of no net 0 pictures a program: as many as of one picture may be sent.
                     info.window.eq(self.net.batch + 1 + ~self.net.loaded),
                     info.pixel_bytes.eq(self.net.pixels + (self.net.pixels << 1))]
        contents = {link.Command.INFO: info.as_value(), link.Command.STATUS: self.status.as_value(),
                    link.Command.BEGIN_LOAD: self.status.load_next,
                    link.Command.RESULTS: self.results.as_value(), link.Command.ERROR: Value.cast(reply.fault)}
        memory = Cat(contents.values())
        assert all(len(content) % 16 == 0 for content in list(contents.values())[:-1])
        address, end = Signal(range(len(memory) // 8 + 1)), Signal(range(len(memory) // 8 + 1))
        pair, last, empty, pictures, labels = Signal(16), Signal(), Signal(), Signal(), Signal()
        length = Signal(16)
        m.d.comb += [header.version.eq(link.PROTOCOL), header.kind.eq(Value.cast(reply.kind) | link.REPLY),
                     header.sequence.eq(reply.sequence), header.length.eq(length)]

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [empty.eq(0), pictures.eq(0), labels.eq(0)]
                base = 0
                with m.Switch(reply.kind):
                    for kind, content in contents.items():
                        with m.Case(kind):
                            octets = len(content) // 8
                            m.d.sync += [address.eq(base), end.eq(base + octets - 1), length.eq(octets)]
                            base += octets
                    with m.Case(link.Command.INFER):
                        m.d.sync += [pictures.eq(1), length.eq(self.net.n_logits * link.LOGIT_BYTES + link.RESULT_TAIL)]
                    with m.Case(link.Command.LABELS):
                        m.d.sync += [labels.eq(1), length.eq(self.labels_length), empty.eq(self.labels_length == 0)]
                    with m.Default():
                        m.d.sync += [empty.eq(1), length.eq(0)]
                with m.If(self.reply.valid):
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.comb += self.header.valid.eq(1)
                with m.If(self.header.ready):
                    m.next = "FETCH"
                    with m.If(pictures):
                        m.next = "PICTURE"
                    with m.If(labels):
                        m.next = "LABELS"
                    with m.If(empty):
                        m.next = "DONE"
            with m.State("FETCH"):
                with m.If(address[0]):
                    m.d.sync += pair.eq(pair[8:])
                with m.Else():
                    m.d.sync += pair.eq(memory.word_select(address[1:], 16))
                m.d.sync += [last.eq(address == end), address.eq(address + 1)]
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [self.payload.valid.eq(1), self.payload.payload.eq(pair[:8])]
                with m.If(self.payload.ready):
                    m.next = "FETCH"
                    with m.If(last):
                        m.next = "DONE"
            for state, passed in (("PICTURE", self.answer), ("LABELS", self.labels)):
                with m.State(state):
                    m.d.comb += [self.payload.valid.eq(passed.valid), self.payload.payload.eq(passed.p.octet),
                                 passed.ready.eq(self.payload.ready)]
                    with m.If(passed.valid & passed.ready & passed.p.last):
                        m.next = "DONE"
            with m.State("DONE"):
                m.d.comb += self.reply.ready.eq(1)
                m.next = "IDLE"
        return m
