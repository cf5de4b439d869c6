"""How many pictures a program takes at once, and each layer of it.

Weights come over the tape once a pass, however many pictures the pass sweeps: late layers, of many weights and small
maps, want many pictures; early ones, of large maps, have no room for more than one in the accumulators, and do not need
it. A plan gives layers whose maps are of one size one number of pictures, which never falls from the picture to the
logits; pictures gather where it rises, and the layers before run as often as it takes. What reads the picture is of one
picture, and so are logits.

    layers      stem, stage 1   stage 2   stage 3              stage 4   logits
    pictures    1               1         2                    8         1
    runs over   0, 1, .., 7     0, .., 7  0-1, 2-3, 4-5, 6-7   0-7       0, 1, .., 7

A plan's time is estimated, layer by layer, from its passes and its words of the tape. Of the plans that come out about
as fast as the fastest one that there is room for, the few of the fewest pictures and runs are offered to be compiled.
"""
from dataclasses import dataclass
from itertools import islice

from accel import isa, link, timing
from accel.tape import operands_of, words_of

from .placement import Run, place_batch

__all__ = ["MOST_PICTURES", "Plan", "candidates", "plans"]

MOST_PICTURES = link.MAX_BATCH
WORDS_PER_CYCLE = 0.987                             # of the tape, from SDRAM
ESTIMATED = 1.01                                    # of the fastest plan's time: about as fast
OFFERED = 4
GAIN = 0.99                                         # of the time picture by picture, that makes a batch worth it
PICTURE_CYCLES = 500                                # between pictures of a batch: drained, refreshed, begun


@dataclass(frozen=True)
class _Cost:
    """What a layer takes, a run of it: passes, words of the tape, pixel groups of a picture. most: pictures at once."""
    passes: int
    words: int
    groups: int
    most: int

    def cycles(self, pictures, shortest, played):
        """Of a run, about."""
        return max(self.passes * max(self.groups * pictures, shortest), self.words / WORDS_PER_CYCLE * played)


@dataclass(frozen=True, order=True)
class Plan:
    """cycles: of a picture, about. pictures: of each segment. segments: indices of their layers."""
    cycles: float
    pictures: tuple
    segments: tuple

    @property
    def batch(self):
        return self.pictures[-1]

    def runs(self):
        """`Run`s of a batch in order: each segment's behind all that it reads."""
        runs = []

        def add(segment, first):
            before = self.pictures[segment - 1] if segment else self.pictures[0]
            if segment:
                for k in range(first, first + self.pictures[segment], before):
                    add(segment - 1, k)
            runs.extend(Run(layer, first, self.pictures[segment]) for layer in self.segments[segment])
        add(len(self.segments) - 1, 0)
        return [*runs, *(Run(self.segments[-1][-1] + 1, k, 1) for k in range(self.batch))]


def plans(image, most):
    """`Plan`s of at most `most` pictures, picture by picture among them, the fastest first. image: of the net, compiled
    picture by picture."""
    costs = [_cost(image, run) for run in image.runs]
    shortest, segments = timing.shortest_pass(image.config), _segments(image)
    by_pictures = [{} for _ in segments]            # of each segment {pictures: cycles a run}

    def cycles(pictures):
        total = PICTURE_CYCLES
        for segment, count, known in zip(segments, pictures, by_pictures, strict=True):
            if count not in known:
                known[count] = sum(costs[k].cycles(count, shortest, not image.resident) for k in segment)
            total += known[count] / count
        return total

    limits = [min(costs[k].most for k in segment) for segment in segments]
    return sorted(Plan(cycles(pictures), pictures, segments) for pictures in _rising(limits, min(most, MOST_PICTURES)))


def candidates(net, image, most):
    """[(`Plan`, `Placement`)] of at most `most` pictures that are worth compiling, those of the fewest pictures first;
    none where picture by picture is as fast. image: of `net`, compiled picture by picture."""
    ordered = plans(image, most)
    limit = GAIN * next(plan.cycles for plan in ordered if plan.batch == 1)
    ordered = [plan for plan in ordered if plan.batch > 1 and plan.cycles <= limit]
    fastest = next((plan for plan in ordered if place_batch(net, image.config, plan.runs())), None)
    if fastest is None:
        return []
    alike = [plan for plan in ordered if fastest.cycles <= plan.cycles <= ESTIMATED * fastest.cycles]
    alike.sort(key=lambda plan: (plan.batch, len(plan.runs())))
    placed = ((plan, place_batch(net, image.config, plan.runs())) for plan in alike)
    return list(islice((pair for pair in placed if pair[1]), OFFERED))


def _cost(image, run):
    """Of a layer, compiled picture by picture."""
    passes, words, groups, alone = 0, 0, 0, image.layers[-1].name == run.layer
    for word in image.program[run.start:run.stop]:
        layout, fields = isa.decode(word)
        _, count, bits = operands_of(image.config, layout, fields)
        words += words_of(isa.INSTRUCTION_BITS) + count * words_of(bits)
        if layout is isa.Pass:
            passes += int(fields.more) + 1
        elif layout is isa.Tile:
            alone |= fields.top != 0                # in bands
            groups = max(groups, int(fields.groups) * int(fields.height))
        elif layout is isa.Source:
            alone |= bool(fields.picture)           # one is there at a time
    return _Cost(passes, words, groups, 1 if alone else image.config.accumulator_depth // groups)


def _segments(image):
    """Indices of layers whose maps are of one size, the logits apart."""
    segments = []
    for k, layer in enumerate(image.layers[:-1]):
        if segments and layer.shape[1:] == image.layers[k - 1].shape[1:]:
            segments[-1].append(k)
        else:
            segments.append([k])
    return tuple(map(tuple, segments))


def _rising(limits, most):
    """Pictures of each segment: never fewer than, and a multiple of, those of the one before."""
    def grown(pictures):
        if len(pictures) == len(limits):
            yield pictures
            return
        before = pictures[-1] if pictures else 1
        for count in range(before, min(most, limits[len(pictures)]) + 1, before):
            yield from grown((*pictures, count))
    return grown(())
