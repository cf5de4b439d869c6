"""The table of commands (docs/uart.md): what each needs, what refuses it, who carries it out.

    command      needs, in this order, or else the fault                 clears   carried out by   answer
    INFO         no payload (LENGTH)                                              -                at once
    STATUS       no payload (LENGTH)                                              -                at once
    RESET        no payload (LENGTH)                                     yes      -                when done
    BEGIN_LOAD   nothing outstanding, no run, no memory test (BUSY), 20
                 bytes (LENGTH)                                          yes      loader           when done
    LOAD         loading (ORDER), 4 bytes and pairs (LENGTH)                      loader           when done
    END_LOAD     loading (ORDER), 18 bytes (LENGTH), all of the tape
                 (ORDER)                                                          loader           when done
    MEMORY_TEST  an SDRAM (NO_MEMORY), nothing outstanding, no run, no
                 memory test (BUSY), 2 bytes (LENGTH)                    yes      loader           when begun
    STORE        an SDRAM (NO_MEMORY), a net (DAMAGED, NOT_LOADED),
                 nothing outstanding, no run (BUSY), 2 bytes and pairs
                 (LENGTH)                                                         runs             when done
    RUN          as STORE, 10 bytes (LENGTH)                             yes      runs             when begun
    RESULTS      an SDRAM (NO_MEMORY), no payload (LENGTH)                        -                at once
    LABELS       an SDRAM (NO_MEMORY), 2 bytes (LENGTH)                           runs             when done
    INFER        a net (DAMAGED, NOT_LOADED), the rest of a picture
                 (LENGTH), no run, room (BUSY)                                    pictures         later, in turn
    PIXELS       a net (DAMAGED, NOT_LOADED), 2 bytes and a part of the
                 rest (LENGTH), no run, room (BUSY)                               pictures         when done

While a net is being loaded nothing is outstanding: BEGIN_LOAD needs that, and up to END_LOAD there is no net to INFER.
`Dispatcher` is generated from the table: a new command is a row here, what carries it out, and what its answer holds
(`Replies`).
"""
from collections.abc import Callable
from dataclasses import dataclass

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from accel import link

__all__ = ["COMMANDS", "Condition", "Row", "Situation", "order_signature"]


PICTURE_OFFSET, TAPE_OFFSET = link.size(link.PictureOffset), link.size(link.LoadOffset)
STORE_PLACE = link.size(link.StorePlace)


class Situation(data.Struct):
    """What the device is in the midst of, as far as a command may depend on it. complete: of the tape that is loading
    all is there. damaged: the core found its tape damaged. testing: the core tests its memory. outstanding: pictures
    sent and not yet answered. batch: those that the net's program takes; one more may be outstanding. running: a run of
    pictures in the SDRAM goes on. missing: bytes of the next picture that have not come."""
    loaded: 1
    loading: 1
    complete: 1
    damaged: 1
    testing: 1
    memory: 1
    outstanding: range(link.MAX_WINDOW + 1)
    batch: 8
    running: 1
    missing: 16


class Order(data.Struct):
    """A command that may be carried out."""
    command: link.Command
    sequence: 8


def order_signature():
    """From the dispatcher to who carries a command out.

    order : Out(stream of Order): on offer until it has been carried out, then taken
    fault : In(link.Fault): NONE, or what went wrong, in the cycle in which the order is taken
    """
    return wiring.Signature({"order": Out(stream.Signature(Order)), "fault": In(link.Fault)})


@dataclass(frozen=True)
class Condition:
    """holds: of (payload's length in bytes, Situation), 1 bit. fault: what the sender is told where it does not."""
    holds: Callable
    fault: link.Fault


@dataclass(frozen=True, kw_only=True)
class Row:
    """conditions: the first that does not hold refuses the command. clears: first of all the core forgets its pictures.
    unit: who carries it out, a port of the dispatcher; None where the answer is all. payload: whether it is read.
    answered: by the dispatcher, when it has been carried out."""
    conditions: tuple = ()
    clears: bool = False
    unit: str | None = None
    payload: bool = False
    answered: bool = True


NOTHING_OUTSTANDING = Condition(lambda length, situation: situation.outstanding == 0, link.Fault.BUSY)
ROOM = Condition(lambda length, situation: situation.outstanding <= situation.batch, link.Fault.BUSY)
NO_RUN = Condition(lambda length, situation: ~situation.running, link.Fault.BUSY)
NO_TEST = Condition(lambda length, situation: ~situation.testing, link.Fault.BUSY)
A_MEMORY = Condition(lambda length, situation: situation.memory, link.Fault.NO_MEMORY)
SOUND = Condition(lambda length, situation: situation.loading | ~situation.damaged, link.Fault.DAMAGED)
LOADED = Condition(lambda length, situation: situation.loaded, link.Fault.NOT_LOADED)
LOADING = Condition(lambda length, situation: situation.loading, link.Fault.ORDER)
COMPLETE = Condition(lambda length, situation: situation.complete, link.Fault.ORDER)
NO_PAYLOAD = Condition(lambda length, situation: length == 0, link.Fault.LENGTH)
THE_REST = Condition(lambda length, situation: length == situation.missing, link.Fault.LENGTH)
A_PART = Condition(
    lambda length, situation: (length > PICTURE_OFFSET) & (length < situation.missing + PICTURE_OFFSET),
    link.Fault.LENGTH)
A_BEGIN_LOAD = Condition(lambda length, situation: length == link.size(link.BeginLoad), link.Fault.LENGTH)
PAIRS = Condition(lambda length, situation: (length > TAPE_OFFSET) & ~length[0], link.Fault.LENGTH)
AN_END_LOAD = Condition(lambda length, situation: length == link.size(link.EndLoad), link.Fault.LENGTH)
A_SEED = Condition(lambda length, situation: length == link.size(link.MemoryTest), link.Fault.LENGTH)
A_STORE = Condition(lambda length, situation: (length > STORE_PLACE) & ~length[0], link.Fault.LENGTH)
A_RUN = Condition(lambda length, situation: length == link.size(link.Run), link.Fault.LENGTH)
AN_INDEX = Condition(lambda length, situation: length == link.size(link.LabelIndex), link.Fault.LENGTH)
FREE_TO_RUN = A_MEMORY, SOUND, LOADED, NOTHING_OUTSTANDING, NO_RUN

COMMANDS = {
    link.Command.INFO: Row(conditions=(NO_PAYLOAD,)),
    link.Command.STATUS: Row(conditions=(NO_PAYLOAD,)),
    link.Command.RESET: Row(conditions=(NO_PAYLOAD,), clears=True),
    link.Command.BEGIN_LOAD: Row(
        conditions=(NOTHING_OUTSTANDING, NO_RUN, NO_TEST, A_BEGIN_LOAD), clears=True, unit="loader", payload=True),
    link.Command.LOAD: Row(conditions=(LOADING, PAIRS), unit="loader", payload=True),
    link.Command.END_LOAD: Row(conditions=(LOADING, AN_END_LOAD, COMPLETE), unit="loader", payload=True),
    link.Command.MEMORY_TEST: Row(
        conditions=(A_MEMORY, NOTHING_OUTSTANDING, NO_RUN, NO_TEST, A_SEED), clears=True, unit="loader", payload=True),
    link.Command.STORE: Row(conditions=(*FREE_TO_RUN, A_STORE), unit="runs", payload=True),
    link.Command.RUN: Row(conditions=(*FREE_TO_RUN, A_RUN), clears=True, unit="runs", payload=True),
    link.Command.RESULTS: Row(conditions=(A_MEMORY, NO_PAYLOAD)),
    link.Command.LABELS: Row(conditions=(A_MEMORY, AN_INDEX), unit="runs", payload=True),
    link.Command.INFER: Row(
        conditions=(SOUND, LOADED, THE_REST, NO_RUN, ROOM), unit="pictures", payload=True, answered=False),
    link.Command.PIXELS: Row(conditions=(SOUND, LOADED, A_PART, NO_RUN, ROOM), unit="pictures", payload=True)}
