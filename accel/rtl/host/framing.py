"""Frames of the UART protocol (docs/uart.md, `accel.link`): out of bytes, into bytes.

    bytes -> FrameReceiver -> buffer writes (payload) and, when the check holds, one `Request`
    reply header + payload bytes -> FrameSender -> bytes
"""
from amaranth import *
from amaranth.lib import crc, data, stream, wiring
from amaranth.lib.crc.catalog import CRC16_IBM_3740, CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from accel import link

__all__ = ["FrameReceiver", "FrameSender", "Request", "frame_crc"]

HEADER_BYTES = link.size(link.Header)
CHECK_BYTES, FRAME_CHECK_BYTES = 2, 4
FIRST_SYNC, SECOND_SYNC = link.SYNC


def frame_crc():
    """The CRC-32 of frames and images, a byte a cycle."""
    return CRC32_ISO_HDLC(data_width=8).create()


def _header_crc():
    return crc.Processor(CRC16_IBM_3740(data_width=8))


class Request(data.Struct):
    """A frame that has come to its end. fault: NONE, or what is wrong with it."""
    kind: 8
    sequence: 8
    length: 16
    fault: link.Fault


class FrameReceiver(wiring.Component):
    """Finds frames in a byte stream that nothing holds back.

    Parameters
    ----------
    timeout : cycles without a byte after which a frame that has begun is given up

    Members
    -------
    valid : In(1), byte : In(8): a byte, at most every second cycle
    buffer_enable, buffer_address, buffer_data : Out: payload byte k of a frame goes to address k as it comes
    o : Out(stream of Request): its payload stays in the buffer until the first payload byte of the next frame
    hold : In(1), read_address : In: the payload is being read from `read_address` on, `hold` up from the cycle after
        its request was taken; a byte that would overwrite what is still to be read makes its frame an overrun
    header_errors, frame_errors, timeouts, overruns : Out(16), counters

    A frame whose header does not hold is left at once for the search of the next sync bytes; one that ends while the
    request before it is still on offer is dropped (an overrun).
    """
    def __init__(self, *, timeout):
        self.timeout = timeout
        address = range(link.MAX_PAYLOAD)
        super().__init__({
            "valid": In(1), "byte": In(8),
            "buffer_enable": Out(1), "buffer_address": Out(address), "buffer_data": Out(8),
            "hold": In(1), "read_address": In(address),
            "o": Out(stream.Signature(Request)),
            **{name: Out(16) for name in ("header_errors", "frame_errors", "timeouts", "overruns")}})

    def elaborate(self, platform):
        m = Module()
        m.submodules.header_crc = header_crc = _header_crc()
        m.submodules.frame_crc = check = frame_crc()
        header, received = Signal(link.Header), Signal(32)
        count, lost = Signal(16), Signal()
        silence, silent = Signal(range(self.timeout + 1)), Signal()
        begun = Signal()
        m.d.comb += [header_crc.data.eq(self.byte), check.data.eq(self.byte)]
        m.d.sync += [self.buffer_enable.eq(0), self.buffer_data.eq(self.byte), silent.eq(silence == self.timeout)]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(~begun | self.valid):
            m.d.sync += [silence.eq(0), silent.eq(0)]
        with m.Elif(~silent):
            m.d.sync += silence.eq(silence + 1)

        def offer(fault):
            with m.If(self.o.valid & ~self.o.ready):
                m.d.sync += self.overruns.eq(self.overruns + 1)
            with m.Else():
                m.d.sync += [self.o.valid.eq(1), self.o.p.kind.eq(header.kind), self.o.p.length.eq(header.length),
                             self.o.p.sequence.eq(header.sequence), self.o.p.fault.eq(fault)]

        def counted(counter):
            m.d.sync += counter.eq(counter + 1)

        def give_up():
            with m.If(silent):
                counted(self.timeouts)
                m.next = "HUNT"

        with m.FSM() as fsm:
            m.d.comb += begun.eq(~fsm.ongoing("HUNT"))
            with m.State("HUNT"):
                with m.If(self.valid & (self.byte == FIRST_SYNC)):
                    m.next = "SYNC"
            with m.State("SYNC"):
                m.d.comb += [header_crc.start.eq(1), check.start.eq(1)]
                m.d.sync += [count.eq(0), lost.eq(0)]
                with m.If(self.valid & (self.byte == SECOND_SYNC)):
                    m.next = "HEADER"
                with m.Elif(self.valid & (self.byte != FIRST_SYNC)):
                    m.next = "HUNT"
                give_up()
            with m.State("HEADER"):
                m.d.comb += [header_crc.valid.eq(self.valid), check.valid.eq(self.valid)]
                with m.If(self.valid):
                    m.d.sync += [header.eq(Cat(header.as_value()[8:], self.byte)), count.eq(count + 1)]
                    with m.If(count == HEADER_BYTES - 1):
                        m.d.sync += count.eq(0)
                        m.next = "HEADER_CHECK"
                give_up()
            with m.State("HEADER_CHECK"):
                with m.If(self.valid):
                    m.d.sync += [received.eq(Cat(received[8:], self.byte)), count.eq(count + 1)]
                    with m.If(count == CHECK_BYTES - 1):
                        m.next = "JUDGE_HEADER"
                give_up()
            with m.State("JUDGE_HEADER"):
                m.d.sync += count.eq(0)
                m.next = "HUNT"
                with m.If(received[16:] != header_crc.crc):
                    counted(self.header_errors)
                    offer(link.Fault.HEADER_CHECK)
                with m.Elif(header.version != link.PROTOCOL):
                    offer(link.Fault.VERSION)
                with m.Elif(header.length > link.MAX_PAYLOAD):
                    offer(link.Fault.LENGTH)
                with m.Elif(header.length == 0):
                    m.next = "FRAME_CHECK"
                with m.Else():
                    m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                m.d.comb += check.valid.eq(self.valid)
                with m.If(self.valid):
                    # In the cycle in which the request is taken, `hold` is not up yet.
                    overwrites = self.o.valid | (self.hold & (count >= self.read_address))
                    m.d.sync += [count.eq(count + 1), self.buffer_address.eq(count),
                                 self.buffer_enable.eq(~overwrites & ~lost), lost.eq(lost | overwrites)]
                    with m.If(count == header.length - 1):
                        m.d.sync += count.eq(0)
                        m.next = "FRAME_CHECK"
                give_up()
                with m.If(silent):
                    offer(link.Fault.TIMEOUT)
            with m.State("FRAME_CHECK"):
                with m.If(self.valid):
                    m.d.sync += [received.eq(Cat(received[8:], self.byte)), count.eq(count + 1)]
                    with m.If(count == FRAME_CHECK_BYTES - 1):
                        m.next = "JUDGE_FRAME"
                give_up()
                with m.If(silent):
                    offer(link.Fault.TIMEOUT)
            with m.State("JUDGE_FRAME"):
                m.next = "HUNT"
                with m.If(lost):
                    counted(self.overruns)
                with m.Elif(received != check.crc):
                    counted(self.frame_errors)
                    offer(link.Fault.FRAME_CHECK)
                with m.Else():
                    offer(link.Fault.NONE)
        return m


class FrameSender(wiring.Component):
    """A reply's header and payload become a frame.

    Members
    -------
    header : In(stream of link.Header): starts a frame; `length` bytes of payload follow
    payload : In(stream of 8 bits), taken only inside a frame
    o : Out(stream of 8 bits)
    """
    def __init__(self):
        super().__init__({"header": In(stream.Signature(link.Header)), "payload": In(stream.Signature(8)),
                          "o": Out(stream.Signature(8))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.header_crc = header_crc = _header_crc()
        m.submodules.frame_crc = check = frame_crc()
        # Everything but the payload is shifted out of one register, lowest byte first.
        fixed = Signal(8 * max(len(link.SYNC), HEADER_BYTES, CHECK_BYTES, FRAME_CHECK_BYTES))
        header, count = Signal(link.Header), Signal(16)
        taken = self.o.valid & self.o.ready
        m.d.comb += [header_crc.data.eq(self.o.payload), check.data.eq(self.o.payload)]

        def shift_out(bytes_of_it, following, value):
            m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(fixed[:8])]
            with m.If(self.o.ready):
                m.d.sync += [fixed.eq(fixed[8:]), count.eq(count + 1)]
                with m.If(count == bytes_of_it - 1):
                    m.d.sync += [count.eq(0), fixed.eq(value)]
                    m.next = following

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.header.ready.eq(1), header_crc.start.eq(1), check.start.eq(1)]
                m.d.sync += [header.eq(self.header.payload), count.eq(0),
                             fixed.eq(int.from_bytes(link.SYNC, "little"))]
                with m.If(self.header.valid):
                    m.next = "SYNC"
            with m.State("SYNC"):
                shift_out(len(link.SYNC), "HEADER", header.as_value())
            with m.State("HEADER"):
                m.d.comb += [header_crc.valid.eq(taken), check.valid.eq(taken)]
                shift_out(HEADER_BYTES, "HEADER_CRC", 0)
            with m.State("HEADER_CRC"):
                m.d.sync += fixed.eq(header_crc.crc)
                m.next = "HEADER_CHECK"
            with m.State("HEADER_CHECK"):
                shift_out(CHECK_BYTES, "PAYLOAD", 0)
            with m.State("PAYLOAD"):
                with m.If(count == header.length):
                    m.d.sync += [fixed.eq(check.crc), count.eq(0)]
                    m.next = "FRAME_CHECK"
                with m.Else():
                    m.d.comb += [self.o.valid.eq(self.payload.valid), self.o.payload.eq(self.payload.payload),
                                 self.payload.ready.eq(self.o.ready), check.valid.eq(taken)]
                    with m.If(taken):
                        m.d.sync += count.eq(count + 1)
            with m.State("FRAME_CHECK"):
                shift_out(FRAME_CHECK_BYTES, "IDLE", 0)
        return m
