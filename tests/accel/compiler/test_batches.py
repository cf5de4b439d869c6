"""Plans of batches, and the places of their tensors: what is demanded of them, and what shipped nets gain."""
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from accel.compiler import batches
from accel.compiler.batches import MOST_PICTURES, candidates, plans
from accel.compiler.compile import compile_net, compile_runs
from accel.compiler.placement import Run, place_batch
from accel.config import R16C8P2, R16C16P2, TINY
from accel.cycles import cycles_a_picture
from accel.isa import Batch, Settings, Tile, decode, unpacked
from model import zoo
from model.integer.net import PICTURE, MaxPool, Skip, tensor_shapes
from tests.batches import batched
from tests.nets import NetBuilder, random_net, residual_net
from tests.rtl_check import PLAYED

LOADER = "the next picture"         # whose pixels may come in any cycle


def sources(layer):
    return [layer.source] if isinstance(layer, MaxPool) else [term.source for term in layer.terms]


def check_order(net, runs, batch):
    """Every layer runs over every picture once, behind all that it reads, and logits come in the order of pictures."""
    there, logits = {(PICTURE, k) for k in range(batch)}, []
    for run in runs:
        layer = net.layers[run.layer]
        for k in range(run.first, run.first + run.pictures):
            assert all((name, k) in there for name in sources(layer)) and (layer.name, k) not in there
            if layer is net.layers[-1]:
                logits.append(k)
        there |= {(layer.name, k) for k in range(run.first, run.first + run.pictures)}
    assert logits == list(range(batch))
    assert Counter(name for name, _ in there) == {name: batch for name in (PICTURE, *(x.name for x in net.layers))}


def check_places(net, config, runs, placement):
    """Follows what lies in every bank row: each run finds all that it reads, writes over nothing of it but what its
    residual alone reads in the very same place, and keeps off the picture's rows from the release on, when the next
    picture may come."""
    shapes = tensor_shapes(net)

    def slot(name, tensor, k):
        channels, height, width = shapes[name]
        planes = config.a_digits if name == PICTURE else -(-channels // config.rows)
        base = tensor.base + k * tensor.apart
        size = planes * height * -(-width // config.banks)
        assert 0 <= base and base + size <= config.activation_depth
        return slice(base, base + size)

    holds = np.full(config.activation_depth, None, dtype=object)
    picture = slot(PICTURE, placement.tensors[0][PICTURE], 0)
    assert picture.start == 0 and placement.tensors[0][PICTURE].second == 0
    begun, free = 1, False                                      # the first picture is there when the program starts
    holds[picture] = [(PICTURE, 0)] * picture.stop
    for run, tensors, release, wait in zip(runs, placement.tensors, placement.releases, placement.waits, strict=False):
        if release:
            assert not free
            free, holds[picture] = True, LOADER
        if wait:
            assert free
            free, holds[picture] = False, [(PICTURE, begun)] * picture.stop
            begun += 1
        layer, reads, writes = net.layers[run.layer], {}, {}
        for k in range(run.pictures):
            for name in sources(layer):
                reads[name, k] = slot(name, tensors[name], k)
                assert all(one == (name, run.first + k) for one in holds[reads[name, k]])
            if layer is not net.layers[-1]:
                writes[k] = slot(layer.name, tensors[layer.name], k)
        for k, rows in writes.items():
            for (name, j), other in reads.items():
                alone = not isinstance(layer, MaxPool) and all(
                    isinstance(term, Skip) for term in layer.terms if term.source == name)
                apart = rows.stop <= other.start or other.stop <= rows.start
                assert apart or (alone and j == k and rows == other)
            assert not free or rows.start >= picture.stop
            holds[rows] = [(layer.name, run.first + k)] * (rows.stop - rows.start)
    assert begun == max(run.first + run.pictures for run in runs)
    assert free != placement.releases[-1] and sum(placement.releases) == begun == sum(placement.waits) + 1


def check_accumulators(image):
    pictures, most = 1, 0
    for word in image.program:
        layout, fields = decode(word)
        if layout is Batch:
            pictures = int(fields.more) + 1
        elif layout is Tile:
            assert fields.groups * fields.height * pictures <= image.config.accumulator_depth
            most = max(most, pictures)
    assert most == max(run.pictures for run in image.runs)


# Plans.

@pytest.mark.parametrize("seed", range(6))
def test_plans(seed):
    """Pictures never fall from the picture to the logits, and divide; layers of one size have one number of them, those
    that read the picture one. The fastest comes first, and picture by picture is among them."""
    net = random_net(seed, PLAYED)
    image = compile_runs(net, PLAYED)
    found = plans(image, 6)
    assert found == sorted(found, key=lambda plan: plan.cycles) and len(set(found)) == len(found)
    assert min(plan.batch for plan in found) == 1 and max(plan.batch for plan in found) <= 6
    shapes = tensor_shapes(net)
    for plan in found:
        assert [k for segment in plan.segments for k in segment] == list(range(len(net.layers) - 1))
        for fewer, more in zip(plan.pictures, plan.pictures[1:], strict=False):
            assert more % fewer == 0
        for segment, pictures in zip(plan.segments, plan.pictures, strict=True):
            layers = [net.layers[k] for k in segment]
            assert len({shapes[layer.name][1:] for layer in layers}) == 1
            for layer in layers:
                _, height, width = shapes[layer.name]
                groups = -(-width // PLAYED.pixels_per_cycle)
                assert pictures == 1 or (PICTURE not in sources(layer)
                                         and height * groups * pictures <= PLAYED.accumulator_depth)
        check_order(net, plan.runs(), plan.batch)


def test_a_plan_of_several_segments():
    """The one of the docstring: a segment's runs stand behind those that they read."""
    plan = batches.Plan(1.0, (1, 2, 4), ((0, 1), (2,), (3,)))
    two = [Run(0, 0, 1), Run(1, 0, 1), Run(0, 1, 1), Run(1, 1, 1), Run(2, 0, 2)]
    later = [Run(run.layer, run.first + 2, run.pictures) for run in two]
    assert plan.runs() == [*two, *later, Run(3, 0, 4), *(Run(4, k, 1) for k in range(4))]


def test_as_few_pictures_as_are_asked_for():
    net = zoo.load("resnet20-w4a4-cifar10")
    alone = compile_net(net, R16C16P2)
    assert alone.batch == 1 and unpacked(Settings, alone.settings).single
    assert Batch not in {decode(word)[0] for word in alone.program}
    for most in (2, 3):
        image = compile_net(net, R16C16P2, most)
        assert image.batch == most and not unpacked(Settings, image.settings).single


def test_a_resident_net_gains_nothing():
    """Its weights are there; a batch is worth its while only where they come again and again, or passes are short."""
    net = zoo.load("resnet8-w4a4-cifar10")
    assert not candidates(net, compile_net(net, R16C16P2), MOST_PICTURES)
    assert compile_net(net, R16C16P2, MOST_PICTURES).batch == 1


def test_weights_that_are_there_again_may_be_too_many():
    """What runs several times in a batch has its weights as often; where they do not fit, the net goes picture by
    picture."""
    build = NetBuilder(np.random.default_rng(0), (3, 8, 8))
    name = PICTURE
    for stride in (2, 2, 1, 1, 1, 2, 1, 1, 1, 1):
        name = build.layer(build.conv(name, 4, stride=stride))
    build.logits(name, 3)
    net = build.net()
    image, alone = compile_net(net, TINY, 4), compile_runs(net, TINY)
    assert image.batch == 4 and len(image.weights) > len(alone.weights)
    for depth, batch in ((len(image.weights), 4), (len(image.weights) - TINY.rows, 1)):
        assert compile_net(net, replace(TINY, weight_depth=depth), 4).batch == batch


@pytest.mark.parametrize("seed", [51, 67, 72, 119])
def test_a_batch_that_only_seems_faster_is_not_taken(seed):
    """The plan's estimate is a gain, the cycle model's figure a loss."""
    net = random_net(seed, TINY)
    assert candidates(net, compile_runs(net, TINY), 16)
    assert compile_net(net, TINY, 16).batch == 1


# Places.

@pytest.mark.parametrize("config", [TINY, PLAYED], ids=lambda config: config.name)
@pytest.mark.parametrize("make", [random_net, residual_net])
@pytest.mark.parametrize("seed", range(5))
def test_places_of_every_plan(make, config, seed):
    """Of those that there is room for, among them some of several segments."""
    net = make(seed, config)
    found = 0
    for plan in plans(compile_runs(net, config), 4):
        if plan.batch > 1 and (placement := place_batch(net, config, plan.runs())):
            check_places(net, config, plan.runs(), placement)
            found += 1
        if found == 4:
            break
    check_accumulators(batched(net, config, seed))


def test_where_there_is_no_room():
    """Four pictures' maps of the first layer are more than the memory has rows."""
    build = NetBuilder(np.random.default_rng(0), (3, 8, 8))
    first = build.layer(build.conv(PICTURE, 32))
    build.logits(build.layer(build.conv(first, 4, stride=2)), 3)
    net = build.net()
    runs = [*(Run(0, k, 1) for k in range(4)), Run(1, 0, 4), *(Run(2, k, 1) for k in range(4))]
    assert place_batch(net, TINY, runs) is None                 # 4 * 128 rows, and the picture's
    runs = [Run(0, 0, 1), Run(0, 1, 1), Run(1, 0, 2), Run(2, 0, 1), Run(2, 1, 1)]
    check_places(net, TINY, runs, place_batch(net, TINY, runs))


# What shipped nets gain.

FIGURES = [("resnet20-w4a4-cifar10", R16C16P2, 4, 88_000), ("resnet20-w4a4-cifar100", R16C16P2, 4, 88_000),
           ("resnet20-w4a4-cifar10", R16C8P2, 2, 175_000), ("resnet20-w4a4-cifar100", R16C8P2, 2, 175_000),
           *(pytest.param(*figures, marks=pytest.mark.slow) for figures in [
               ("vgg-w4a4-cifar10", R16C16P2, 8, 345_000), ("vgg-w4a4-cifar10", R16C8P2, 4, 670_000),
               ("resnet18-w4a4-cifar10", R16C16P2, 8, 1_250_000), ("resnet18-w4a4-cifar10", R16C8P2, 4, 2_400_000)])]


@pytest.mark.parametrize("name, config, batch, most", FIGURES)
def test_shipped_nets(name, config, batch, most):
    """Pictures of a batch, and the most cycles that a picture takes. The places chosen are those of the image."""
    net = zoo.load(name)
    image = compile_net(net, config, MOST_PICTURES)
    assert image.batch == batch and cycles_a_picture(image) < most
    offered = {tuple((net.layers[run.layer].name, run.first, run.pictures) for run in plan.runs()): (
        plan.runs(), placement) for plan, placement in candidates(net, compile_runs(net, config), MOST_PICTURES)}
    runs, placement = offered[tuple((run.layer, run.first, run.pictures) for run in image.runs)]
    for run, tensors in zip(image.runs[:-batch], placement.tensors, strict=False):
        assert (tensors[run.layer].base, tensors[run.layer].apart) == (run.base, run.apart)
    check_order(net, runs, batch)
    check_places(net, config, runs, placement)
    check_accumulators(image)
