# amaranth: UnusedElaboratable=no
"""PassPipeline against the time table of its docstring: when a pass is taken, and every output in every cycle."""
import random
from dataclasses import dataclass, replace

import pytest

from accel import isa, timing
from accel.config import TINY, TINY_1PX
from accel.rtl.control.passes import PassPipeline
from tests.accel.simulate import run_cycles

# `rows` decides the shortest pass, and with `chains` and `a_bits` how long it takes to drain. Two have rings of few
# weight words, one of them of no power of two.
TWELVE_ROWS = replace(TINY, name="twelve-rows", rows=12, weight_depth=36)
TWO_BITS = replace(TINY, name="two-bits", w_bits=2, a_bits=2, rows=8, weight_depth=32)
CONFIGS = [TINY, TINY_1PX, TWELVE_ROWS, TWO_BITS]
LAYOUTS = {"instruction": isa.Pass, "source": isa.Source, "tile": isa.Tile, "batch": isa.Batch}


@dataclass(kw_only=True)
class Request:
    """A pass, the cycle from which on it is offered, at the earliest, and fields that the stages only hand on."""
    wait: int = 0
    groups: int = 1
    height: int = 1
    pictures: int = 1
    final: int = 0
    repeat: int = 0
    barrier: int = 0
    fields: random.Random

    def __post_init__(self):
        pick = self.fields.randrange
        self.state = {
            "instruction": {"op": isa.Op.PASS, "base": pick(1 << isa.ROW_BITS), "dy": pick(-1, 2), "dx": pick(-1, 2),
                            "shift": pick(16), "beta_shift": pick(16), "beta": pick(-2048, 2048), "clear": pick(2),
                            "final": self.final, "maximum": pick(2), "repeat": self.repeat, "logits": pick(2),
                            "drop": pick(4), "more": pick(64)},
            "source": {"op": isa.Op.SOURCE, "width": pick(128), "height": pick(128), "pitch": pick(64),
                       "plane": pick(1 << isa.ROW_BITS), "stride2": pick(2), "picture": pick(2),
                       "apart": pick(1 << isa.ROW_BITS)},
            "tile": {"op": isa.Op.TILE, "base": pick(1 << isa.ROW_BITS), "part": pick(16), "pitch": pick(64),
                     "width": pick(128), "height": self.height, "groups": self.groups, "top": pick(128),
                     "thresholds": pick(2), "short": pick(2), "barrier": self.barrier},
            "batch": {"op": isa.Op.BATCH, "more": self.pictures - 1, "apart": pick(1 << isa.ROW_BITS)}}
        self.table = pick(1 << 64)

    @property
    def tokens(self):
        return self.groups * self.height * self.pictures


SECOND = 300                                        # bank row of the second picture buffer


def run(config, requests, *, buffer=0, busy=0.0, seed=0, rewinds=True, clear=(), after=100):
    """What happened: cycles in which each request was offered first and taken, thresholds_busy, rewind, ended and
    outputs of each cycle. busy: chance of thresholds_busy in a cycle, drawn anew each time; rewind comes now and then
    between passes, and ended where all has drained. clear: its cycles."""
    dut, rng = PassPipeline(config), random.Random(seed)
    table_bits = config.w_bits << config.w_bits
    trace = {name: [] for name in ("ready", "busy", "rewind", "ended", "words_free", "weight_address", "table", "token",
                                   "window", "state", "drained", "thresholds_free")}
    offered, taken = [], []
    cycles = after + sum(
        request.wait + max(request.tokens, timing.shortest_pass(config)) + 1 + request.barrier * timing.drain(config)
        + request.final * (busy > 0) * 30 for request in requests)

    def stimulus(ctx, cycle):
        k = len(taken)
        ctx.set(dut.picture_buffer, buffer)
        ctx.set(dut.thresholds_busy, int(rng.random() < busy))
        waited = taken[-1] + 1 if taken else 0
        valid = k < len(requests) and cycle >= waited + requests[k].wait
        ctx.set(dut.second, SECOND)
        ctx.set(dut.clear, int(cycle in clear))
        ctx.set(dut.rewind, int(rewinds and not valid and rng.random() < 0.1))
        ctx.set(dut.ended, int(rewinds and not valid and ctx.get(dut.drained) and rng.random() < 0.2))
        ctx.set(dut.passes.valid, int(valid))
        if valid:
            if len(offered) == k:
                offered.append(cycle)
            ctx.set(dut.passes.payload, {"state": requests[k].state, "table": requests[k].table % (1 << table_bits)})

    def sample(ctx, cycle):
        trace["ready"].append(ctx.get(dut.passes.ready))
        trace["busy"].append(ctx.get(dut.thresholds_busy))
        for name in list(trace)[2:]:
            trace[name].append(ctx.get(getattr(dut, name)))
        if ctx.get(dut.passes.valid) and trace["ready"][-1]:
            taken.append(cycle)

    run_cycles(dut, stimulus, sample, cycles)
    assert len(taken) == len(requests)
    return offered, taken, trace


def first_words(config, requests, taken, rewind):
    """Of each request, the weight word that it begins with."""
    words, word, following = [], None, 0
    for request, before, cycle in zip(requests, [0, *taken], taken, strict=False):
        if any(rewind[before:cycle]):
            following = 0
        if not request.repeat:
            word, following = following, (following + config.rows) % config.weight_depth
        words.append(word)
    return words


def cycles_of_words_free(requests, taken, trace):
    """The words of a pass are free in the cycle after the next one that has its own was taken, or when all has ended;
    not where all begins anew before."""
    cycles, held = [], False
    fresh = {cycle + 1 for request, cycle in zip(requests, taken, strict=True) if not request.repeat}
    for cycle, (rewind, ended) in enumerate(zip(trace["rewind"], trace["ended"], strict=True)):
        if held and (cycle in fresh or ended):
            cycles.append(cycle)
        held = cycle in fresh or held and not (rewind or ended)
    return cycles


def check(config, requests, buffer, offered, taken, trace):
    """Compares a run with what follows from its inputs."""
    cycles, rows, drain = len(trace["ready"]), config.rows, timing.drain(config)
    # When passes are taken.
    free, written, expected = 0, 0, []
    for request, begin in zip(requests, offered, strict=True):
        cycle = max(begin, free, written if request.barrier else 0)
        while request.final and trace["busy"][cycle]:
            cycle += 1
        expected.append(cycle)
        free = cycle + max(request.tokens, rows, 6)
        written = cycle + request.tokens + 1 + drain
    assert taken == expected
    # What they do.
    tokens, words = {}, first_words(config, requests, taken, trace["rewind"])
    drained, thresholds_free = [1] * cycles, [1] * cycles
    ends = [*taken[1:], cycles]
    for request, cycle, end, word in zip(requests, taken, ends, words, strict=True):
        assert trace["weight_address"][cycle + 1:cycle + 1 + rows] == [word + k for k in range(rows)]
        table = request.table % (1 << (config.w_bits << config.w_bits))
        assert set(trace["table"][cycle + 1 + timing.TABLE:end + 1 + timing.TABLE]) == {table}
        first = cycle + 1 + rows
        tokens |= {first + k: (1, k == 0, (k + 1) % request.groups == 0,
                               (k + 1) % (request.groups * request.height) == 0) for k in range(request.tokens)}
        for name, value in request.state.items():
            held = {getattr(state, name).as_bits() for state in trace["state"][first:end + 1 + rows]}
            assert held == {LAYOUTS[name].const(value).as_bits()}
        source, instruction = request.state["source"], request.state["instruction"]
        base = instruction["base"] + (SECOND if source["picture"] and buffer else 0)
        y = (1 + source["stride2"]) * request.state["tile"]["top"] + instruction["dy"]
        window = {"base": base % (1 << isa.ROW_BITS), "y": y, "dx": instruction["dx"],
                  "drop": instruction["drop"], **{name: source[name] for name in ("stride2", "width", "height",
                                                                                  "pitch", "apart")}}
        assert all({name: now[name] for name in window} == window for now in trace["window"][first:end + 1 + rows])
        over = cycle + request.tokens + 1 + rows + drain
        for at in range(cycle + 1, min(over, cycles)):
            drained[at] = 0
        if request.final:
            for at in range(cycle + 2, min(over, cycles)):
                thresholds_free[at] = 0
    for at, token in enumerate(trace["token"]):
        now = (token.valid, token.first, *((token.row_end, token.map_end) if token.valid else (0, 0)))
        assert now == tokens.get(at, (0, 0, 0, 0)), f"token of cycle {at}"
    assert trace["drained"] == drained
    assert [cycle for cycle, free in enumerate(trace["words_free"]) if free] == cycles_of_words_free(
        requests, taken, trace)
    # Up to date from the second cycle of a pass on.
    assert [free for at, free in enumerate(trace["thresholds_free"]) if at - 1 not in taken] == [
        free for at, free in enumerate(thresholds_free) if at - 1 not in taken]


@pytest.mark.parametrize("config", [TINY, TWELVE_ROWS], ids=lambda config: config.name)
@pytest.mark.parametrize("groups, height, pictures", [
    (1, 1, 1), (1, 2, 1), (6, 1, 1), (1, 7, 1), (3, 5, 1), (12, 1, 1), (1, 1, 2), (1, 1, 9), (1, 1, 64), (4, 1, 3),
    (1, 3, 4), (2, 3, 2)])
def test_time_table_of_one_pass(config, groups, height, pictures):
    request = Request(groups=groups, height=height, pictures=pictures, final=1, fields=random.Random(2))
    offered, taken, trace = run(config, [request], rewinds=False)
    n, rows, drain = groups * height * pictures, config.rows, timing.drain(config)
    assert taken == [0]
    assert trace["weight_address"][1:1 + rows] == list(range(rows))
    assert [at for at, token in enumerate(trace["token"]) if token.valid] == list(range(1 + rows, n + rows + 1))
    assert trace["ready"].index(1, 1) == max(n, timing.shortest_pass(config))
    assert trace["drained"].index(1, 1) == trace["thresholds_free"].index(1, 2) == n + 1 + rows + drain
    check(config, [request], 0, offered, taken, trace)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
@pytest.mark.parametrize("barrier, final", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_second_pass_is_taken_as_soon_as_it_may(config, barrier, final):
    fields = random.Random(3)
    requests = [Request(groups=2, height=2, final=1, fields=fields),
                Request(groups=2, height=4, barrier=barrier, final=final, fields=fields)]
    offered, taken, trace = run(config, requests, rewinds=False)
    back_to_back = max(4, timing.shortest_pass(config))
    assert taken == [0, 4 + 1 + timing.drain(config) if barrier else back_to_back]
    check(config, requests, 0, offered, taken, trace)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
@pytest.mark.parametrize("busy", [0.0, 0.9])
@pytest.mark.parametrize("buffer", [0, 1])
def test_random_passes(config, busy, buffer):
    rng = random.Random(buffer + 2 * (busy > 0))
    requests = []
    for k in range(25):
        groups, height = rng.choice([(1, 1), (1, rng.randrange(1, 12)), (rng.randrange(1, 12), 1),
                                     (rng.randrange(1, 5), rng.randrange(1, 6))])
        requests.append(Request(
            wait=rng.choice([0, 0, 3, rng.randrange(60)]), groups=groups, height=height, final=rng.randrange(2),
            pictures=rng.choice([1, 1, 2, rng.randrange(1, 8)]),
            repeat=rng.randrange(2) if k else 0, barrier=int(rng.random() < 0.3), fields=rng))
    offered, taken, trace = run(config, requests, buffer=buffer, busy=busy, seed=buffer)
    assert any(trace["rewind"]) and any(trace["ended"]) and any(trace["words_free"])
    check(config, requests, buffer, offered, taken, trace)


def test_words_are_free_when_nothing_reads_them_again():
    """Of three passes, the second with the first one's words: these when the third was taken, that one's at the end."""
    fields = random.Random(4)
    requests = [Request(height=8, repeat=repeat, fields=fields) for repeat in (0, 1, 0)]
    dut, ended = PassPipeline(TINY), 40

    def stimulus(ctx, cycle):
        ctx.set(dut.ended, cycle == ended)
        ctx.set(dut.passes.valid, cycle <= 16)
        ctx.set(dut.passes.payload.state, requests[min(cycle // 8, 2)].state)

    free = run_cycles(dut, stimulus, lambda ctx, cycle: ctx.get(dut.words_free), 60)
    assert free.nonzero()[0].tolist() == [17, ended]


def test_weight_words_go_round_in_their_ring():
    """Three passes fill it; the fourth begins with word 0 again, whatever the depth."""
    for config in (TWELVE_ROWS, replace(TWELVE_ROWS, rows=16, chains=2, weight_depth=48), TWO_BITS):
        count = config.weight_depth // config.rows
        requests = [Request(height=20, fields=random.Random(k)) for k in range(2 * count)]
        _, taken, trace = run(config, requests, rewinds=False)
        assert [trace["weight_address"][cycle + 1] for cycle in taken] == 2 * list(
            range(0, config.weight_depth, config.rows))


def test_clear_ends_a_pass():
    """Tokens of the weight stage still come, `rows` cycles later; the words are not free, since all begins anew."""
    requests = [Request(height=40, fields=random.Random(5)), Request(height=1, wait=60, fields=random.Random(6))]
    _, taken, trace = run(TINY, requests, rewinds=False, clear=range(10, 15), after=200)
    rows = TINY.rows
    second = taken[1] + 1 + rows
    tokens = [cycle for cycle, token in enumerate(trace["token"]) if token.valid]
    assert tokens == [*range(1 + rows, 11 + rows), second]
    assert trace["drained"].index(1, 1) == 10 + 1 + rows + timing.drain(TINY)
    assert not any(trace["words_free"])
