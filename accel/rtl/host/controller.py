"""Carries out the commands of the UART protocol (docs/uart.md): loads the core's net, hands it pictures, answers.

                       +------------ situation ------------+  +-- whole, damaged, memory, run
                       v                                   |  v
    request ====> Dispatcher == orders ==> Loader, PictureQueue, Runs ==> load, pixels
                    |    |                   ^      ^     |
                    |    +==> Replies ==> header, payload    CoreGuard -- clear, cleared
                    v           ^            |      |
    buffer <--> PayloadReader == bytes ======+======+
                                |
                          PictureAnswer <== logits, cycles
"""
from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from accel import isa, link
from accel.config import AccelConfig

from .core_guard import CoreGuard
from .dispatcher import Dispatcher
from .framing import Request
from .loader import Loader
from .payload_reader import PayloadReader
from .picture_answer import PictureAnswer
from .picture_queue import PictureQueue
from .replies import Replies
from .runs import Runs

__all__ = ["Controller"]


class Controller(wiring.Component):
    """One command at a time; pictures overlap: one computed, one waiting.

    Parameters
    ----------
    config : AccelConfig; clock_hz, baud : for INFO
    patience : cycles after which a core that takes nothing is given up
    net : dict of `NetState` fields of the net that the core holds at configuration, or None

    Members
    -------
    request : In(stream of Request)
    buffer_address : Out, buffer_data : In(8), two cycles later: the request's payload
    reading : Out(1): the payload from buffer_address on is still wanted
    header, payload : Out: a reply, to the FrameSender
    load, pixels, logits, cycles, whole, damaged, memory, run : the core's
    clear : Out(1): up until the core has forgotten every picture, and `cleared` : In(1) says so; then both fall. While
        either is up nothing is offered to the core, and its logits are taken and dropped
    counters : In(link.Status): those of the receiver and of the clock; the controller fills in the rest
    leds : Out(8): 0 .. 6 the last picture's class, or all of them while the core's net is damaged; 7 while a picture is
        being classified, or a run goes on

    Results go first: a command waits while one is sent. No command waits longer for the core than `patience`, or
    `core_guard.LONG` times as long where the core computes meanwhile: it is refused with STALLED then, and with the
    core its pictures, its net and a load are given up. `clear` stays up until the core answers.

        cycle     what happens                                          (cycles of the host's side: see its units)
        0         request taken; the reader begins with its payload
        3         an order is on offer: Loader or PictureQueue begins   (a refusal: 5)
        4         first byte of the payload; the next ones 4 cycles after the one before was taken
        answer    header when the order has been carried out, then a byte of payload whenever the sender takes one

    Throughput: a payload byte in 4 cycles, a pixel in 12, a word of a tape in 8. About 790 flip-flops, a third of them
    the loader's, and 1,560 LUT4; two block memories, for a picture's logits (the payload's buffer is `System`'s).
    """
    def __init__(self, config: AccelConfig, *, clock_hz, baud, patience, net=None):
        self.config, self.clock_hz, self.baud, self.patience, self.net = config, clock_hz, baud, patience, net
        super().__init__({
            "request": In(stream.Signature(Request)),
            "buffer_address": Out(range(link.MAX_PAYLOAD)), "buffer_data": In(8), "reading": Out(1),
            "header": Out(stream.Signature(link.Header)), "payload": Out(stream.Signature(8)),
            "load": Out(stream.Signature(isa.LoadWord)), "pixels": Out(stream.Signature(isa.PixelWord)),
            "logits": In(stream.Signature(isa.LogitWord)), "cycles": In(32), "whole": In(1), "damaged": In(1),
            "memory": In(isa.MemoryReport), "run": In(isa.RunReport), "clear": Out(1), "cleared": In(1),
            "counters": In(link.Status), "leds": Out(8)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dispatcher = dispatcher = Dispatcher()
        m.submodules.reader = reader = PayloadReader()
        m.submodules.loader = loader = Loader(self.config, net=self.net)
        m.submodules.pictures = pictures = PictureQueue()
        m.submodules.answer = answer = PictureAnswer()
        m.submodules.guard = guard = CoreGuard(patience=self.patience)
        m.submodules.replies = replies = Replies(self.config, clock_hz=self.clock_hz, baud=self.baud)
        net, status, situation = loader.net, replies.status, dispatcher.situation
        units, running, answered = [loader, pictures], Signal(), Signal()
        if self.config.sdram_hz is None:
            wiring.connect(m, wiring.flipped(self.load), loader.load)
        else:
            m.submodules.runs = runs = Runs()
            units.append(runs)
            self._runs(m, runs, dispatcher=dispatcher, loader=loader, answer=answer, guard=guard, replies=replies)
            m.d.comb += [running.eq(runs.running), answered.eq(runs.answered)]

        for port, inner in ((self.request, dispatcher.request), (self.logits, answer.logits),
                            (self.pixels, pictures.pixels), (self.header, replies.header),
                            (self.payload, replies.payload)):
            wiring.connect(m, wiring.flipped(port), inner)
        wiring.connect(m, dispatcher.loader, loader.control)
        wiring.connect(m, dispatcher.pictures, pictures.control)
        wiring.connect(m, dispatcher.reply, replies.reply)
        wiring.connect(m, answer.octets, replies.answer)
        for unit in units:                                  # only the one that carries out a command takes bytes
            m.d.comb += [unit.octets.valid.eq(reader.octets.valid), unit.octets.payload.eq(reader.octets.payload),
                         unit.left.eq(reader.left), unit.abandon.eq(dispatcher.abandon)]
        waits_to_load, waits_for_pixels = self.load.valid & ~self.load.ready, self.pixels.valid & ~self.pixels.ready
        tested = status.memory_state == link.MemoryState.DONE
        m.d.comb += [
            reader.octets.ready.eq(Cat(unit.octets.ready for unit in units).any()),
            reader.start.eq(dispatcher.start_reading), reader.length.eq(dispatcher.length),
            reader.stop.eq(dispatcher.stop_reading), reader.buffer_data.eq(self.buffer_data),
            self.buffer_address.eq(reader.buffer_address), self.reading.eq(reader.reading),
            situation.loaded.eq(net.loaded), situation.loading.eq(loader.loading),
            situation.complete.eq(loader.complete), situation.damaged.eq(self.damaged),
            situation.testing.eq(loader.testing), situation.memory.eq(self.config.sdram_hz is not None),
            situation.outstanding.eq(pictures.outstanding), situation.missing.eq(pictures.missing),
            situation.batch.eq(net.batch), situation.running.eq(running),
            loader.drop.eq(dispatcher.drop), loader.whole.eq(self.whole), loader.damaged.eq(self.damaged),
            loader.tested.eq(self.memory.tested), pictures.pixels_a_picture.eq(net.pixels),
            dispatcher.answer_due.eq(answer.due & ~running), dispatcher.answer_whole.eq(answer.whole),
            dispatcher.oldest.eq(pictures.oldest), pictures.whole.eq(dispatcher.classified),
            pictures.best.eq(answer.best),
            answer.answered.eq(dispatcher.answered | answered),
            pictures.answered.eq(dispatcher.answered), answer.cycles.eq(self.cycles), answer.n_logits.eq(net.n_logits),
            guard.begin.eq(dispatcher.start_reading), guard.forget.eq(dispatcher.forget),
            guard.waits.eq(waits_to_load | waits_for_pixels | loader.awaits),
            # The next picture may have to wait until the one before is classified.
            guard.long.eq(loader.awaits | (pictures.outstanding != 0)),
            guard.cleared.eq(self.cleared), self.clear.eq(guard.clear),
            dispatcher.clearing.eq(guard.clearing), dispatcher.stalled.eq(guard.stalled),
            answer.clear.eq(guard.clearing), pictures.clear.eq(guard.clearing),
            replies.net.eq(net), status.eq(self.counters), status.images.eq(pictures.images),
            status.load_next.eq(loader.load_next), status.outstanding.eq(pictures.outstanding),
            status.loaded.eq(net.loaded), status.tape.eq(loader.tape), status.damaged.eq(self.damaged),
            status.memory_state.eq(loader.memory_state), status.memory_errors.eq(Mux(tested, self.memory.errors, 0)),
            status.memory_address.eq(Mux(tested, self.memory.address << 1, 0)),
            self.leds.eq(Cat(pictures.last_class | self.damaged.replicate(len(pictures.last_class)),
                             (pictures.outstanding != 0) | running))]
        return m

    def _runs(self, m, runs, *, dispatcher, loader, answer, guard, replies):
        """The unit of runs among the others. While it offers nothing the load stream is the loader's."""
        wiring.connect(m, dispatcher.runs, runs.control)
        wiring.connect(m, runs.labels, replies.labels)
        results = replies.results
        m.d.comb += [
            self.load.valid.eq(loader.load.valid | runs.load.valid),
            self.load.payload.eq(Mux(runs.load.valid, runs.load.payload, loader.load.payload)),
            loader.load.ready.eq(self.load.ready), runs.load.ready.eq(self.load.ready),
            runs.chunks.eq(loader.chunks), runs.ended.eq(self.run.ended), runs.damaged.eq(self.damaged),
            runs.clear.eq(guard.clearing), runs.logit.eq(self.logits.p.logit),
            runs.logit_taken.eq(self.logits.valid & self.logits.ready), runs.due.eq(answer.due),
            runs.whole.eq(answer.whole), runs.best.eq(answer.best), answer.unsent.eq(runs.running),
            replies.labels_length.eq(runs.labels_length), results.eq(runs.results),
            results.cycles.eq(self.run.cycles), results.check.eq(self.run.check)]
