"""Decides what becomes of each request, one at a time; generated from the table of commands.

    cycle                  0       1         2        3 .. n    n+1     n+2      n+3 .. k
    state                  IDLE    MEASURE   DECIDE   EXECUTE   JUDGE   SETTLE   REPLY
    request                taken
    reader                 start                                stop
    loader or pictures                                on offer
    reply                                                                        on offer

What a decision depends on is compared in the state before: states follow from single bits. A refused command, and one
that nobody has to carry out, goes from DECIDE to JUDGE; one that clears the core goes through FORGET and CLEARING
first. The answer of a picture goes before all commands: IDLE, REPLY.

Where the core finds its tape damaged while a net is loaded, every picture on its way is answered by DAMAGED: IDLE,
LOST, REPLY, LOST, REPLY, ... LOST, IDLE. Nothing that the core says meanwhile is listened to; then it forgets its
pictures and there is no net.
"""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel import link

from .commands import COMMANDS, Situation, order_signature
from .framing import Request
from .replies import Reply

__all__ = ["Dispatcher"]

UNITS = sorted({row.unit for row in COMMANDS.values()} - {None})


class Dispatcher(wiring.Component):
    """From requests to orders and replies.

    Members
    -------
    request : In(stream of Request)
    situation : In(Situation)
    start_reading : Out(1), length : Out(16): its payload has to be read; stop_reading : Out(1): no more
    loader, pictures : Out(order_signature()), one for each unit of the table
    forget : Out(1), for one cycle: the core forgets its pictures, `clearing` : In(1) from the cycle after until it has
    stalled : In(1): the core does not answer. The command is refused with STALLED
    abandon : Out(1), for one cycle: takes the order from whoever carries it out
    drop : Out(1), for one cycle: there is no net any more, and no load
    answer_due : In(1): a picture's answer waits, oldest : In(8): its sequence number, answer_whole : In(1): it is an
        answer, else the picture is answered by LOGITS. While the core forgets its pictures there is none
    answered : Out(1), for one cycle: the oldest picture is, classified : Out(1): by its logits
    reply : Out(stream of Reply)

    Latency: 3 cycles from a request to its order, 5 to the reply of one that is refused or that nobody carries out. A
    request that is no command is refused with COMMAND, one that came damaged with its own fault. Resources: 95
    flip-flops, 290 LUT4.
    """
    def __init__(self):
        super().__init__({
            "request": In(stream.Signature(Request)), "situation": In(Situation),
            "start_reading": Out(1), "length": Out(16), "stop_reading": Out(1),
            **{unit: Out(order_signature()) for unit in UNITS},
            "forget": Out(1), "clearing": In(1), "stalled": In(1), "abandon": Out(1), "drop": Out(1),
            "answer_due": In(1), "answer_whole": In(1), "oldest": In(8), "answered": Out(1), "classified": Out(1),
            "reply": Out(stream.Signature(Reply))})

    def elaborate(self, platform):
        m = Module()
        request, reply = Signal(Request), Signal(Reply)
        damaged, refused, answered, picture, lost = Signal(), Signal(), Signal(), Signal(), Signal()
        due = Signal()
        asked = {command: Signal(name=f"asked_{command.name.lower()}") for command in COMMANDS}
        conditions = dict.fromkeys(condition for row in COMMANDS.values() for condition in row.conditions)
        holds = {condition: Signal(name=f"holds_{k}") for k, condition in enumerate(conditions)}
        chosen = {unit: Signal(name=f"chosen_{unit}") for unit in UNITS}
        ports = [getattr(self, unit) for unit in UNITS]
        m.d.comb += [self.reply.payload.eq(reply), self.length.eq(self.request.p.length),
                     self.classified.eq(reply.kind == link.Command.INFER), due.eq(self.answer_due & ~self.clearing)]
        for port in ports:
            m.d.comb += [port.order.p.command.eq(request.kind), port.order.p.sequence.eq(request.sequence)]

        def give_up():
            m.d.comb += [self.abandon.eq(1), self.drop.eq(1)]
            m.d.sync += reply.fault.eq(link.Fault.STALLED)
            m.next = "JUDGE"

        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [request.eq(self.request.payload), reply.sequence.eq(self.request.p.sequence),
                             picture.eq(due), lost.eq(0), *(unit.eq(0) for unit in chosen.values())]
                with m.If(due):
                    m.d.sync += [reply.kind.eq(Mux(self.answer_whole, link.Command.INFER, link.Command.ERROR)),
                                 reply.fault.eq(link.Fault.LOGITS), reply.sequence.eq(self.oldest)]
                    m.next = "REPLY"
                with m.Elif(self.situation.loaded & self.situation.damaged):
                    m.next = "LOST"
                with m.Elif(self.request.valid):
                    m.d.comb += [self.request.ready.eq(1), self.start_reading.eq(1)]
                    m.next = "MEASURE"
            with m.State("MEASURE"):
                m.d.sync += [damaged.eq(request.fault != link.Fault.NONE),
                             *(flag.eq(request.kind == command) for command, flag in asked.items()),
                             *(flag.eq(condition.holds(request.length, self.situation))
                               for condition, flag in holds.items())]
                m.next = "DECIDE"
            with m.State("DECIDE"):
                m.d.sync += [reply.kind.eq(request.kind), reply.fault.eq(link.Fault.NONE), answered.eq(1)]
                m.next = "EXECUTE"
                with m.If(damaged):
                    m.d.sync += reply.fault.eq(request.fault)
                    m.next = "JUDGE"
                for command, row in COMMANDS.items():
                    with m.Elif(asked[command]):
                        m.d.sync += answered.eq(row.answered)
                        if row.unit is not None:
                            m.d.sync += chosen[row.unit].eq(1)
                        if row.clears:
                            m.next = "FORGET"
                        elif row.unit is None:
                            m.next = "JUDGE"
                        if not row.payload:
                            m.d.comb += self.stop_reading.eq(1)
                        for condition in reversed(row.conditions):          # of several the first one has its way
                            with m.If(~holds[condition]):
                                m.d.sync += reply.fault.eq(condition.fault)
                                m.next = "JUDGE"
                with m.Else():
                    m.d.sync += reply.fault.eq(link.Fault.COMMAND)
                    m.next = "JUDGE"
            with m.State("FORGET"):
                m.d.comb += self.forget.eq(1)
                m.next = "CLEARING"
            with m.State("CLEARING"):
                with m.If(self.stalled):
                    give_up()
                with m.Elif(~self.clearing):
                    m.next = "JUDGE"
                    with m.If(Cat(chosen.values()).any()):
                        m.next = "EXECUTE"
            with m.State("EXECUTE"):
                with m.If(self.stalled):
                    m.d.comb += self.forget.eq(1)
                    give_up()
                # Without the rest of its tape the core takes no pixels. An INFER is one of the pictures on their way.
                with m.Elif(chosen["pictures"] & self.situation.damaged):
                    m.d.comb += self.abandon.eq(1)
                    with m.If(answered):
                        m.d.sync += reply.fault.eq(link.Fault.DAMAGED)
                    m.next = "JUDGE"
                for unit, port in zip(UNITS, ports, strict=True):
                    m.d.comb += port.order.valid.eq(chosen[unit])
                    with m.If(chosen[unit] & port.order.ready):
                        m.d.sync += reply.fault.eq(port.fault)
                        m.next = "JUDGE"
            with m.State("JUDGE"):
                m.d.comb += self.stop_reading.eq(1)
                m.d.sync += refused.eq(reply.fault != link.Fault.NONE)
                m.next = "SETTLE"
            with m.State("SETTLE"):
                m.next = "REPLY"
                with m.If(refused):
                    m.d.sync += reply.kind.eq(link.Command.ERROR)
                with m.Elif(~answered):
                    m.next = "IDLE"
            with m.State("LOST"):
                m.d.sync += [reply.kind.eq(link.Command.ERROR), reply.fault.eq(link.Fault.DAMAGED),
                             reply.sequence.eq(self.oldest), picture.eq(1), lost.eq(1)]
                m.next = "REPLY"
                with m.If(self.situation.outstanding == 0):
                    m.d.comb += [self.forget.eq(1), self.drop.eq(1)]
                    m.next = "IDLE"
            with m.State("REPLY"):
                m.d.comb += self.reply.valid.eq(1)
                with m.If(self.reply.ready):
                    m.d.comb += self.answered.eq(picture)
                    m.next = "IDLE"
                    with m.If(lost):
                        m.next = "LOST"
        return m
