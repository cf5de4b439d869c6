"""Compiler and interpreter together: every code and every logit of random nets."""
from dataclasses import replace

import numpy as np
import pytest

from accel.compiler.compile import DoesNotFit, compile_net
from accel.compiler.placement import bands, place
from accel.config import R8C8P2, R16C16P1, R16C16P2, TINY
from accel.interp import Interpreter
from model.integer import golden
from model.integer.net import PICTURE, Skip
from tests.batches import batched
from tests.nets import (
    SIZES,
    NetBuilder,
    corner_pictures,
    extreme_net,
    random_net,
    random_pictures,
    residual_net,
    resnet8_like,
    sized_net,
)

from .variants import VARIANTS


def run(image, interpreter, pixels):
    logits, writes = interpreter.run(pixels[None])
    return image.tensors(*writes), logits[0]


def check(net, config, pictures):
    """The interpreted program gives every code and logit of the net's definition."""
    image = compile_net(net, config)
    interpreter = Interpreter(image)
    expected_logits, expected_tensors = golden.forward(net, pictures), golden.trace(net, pictures)
    for index, pixels in enumerate(pictures):
        tensors, logits = run(image, interpreter, pixels)
        assert tensors.keys() == expected_tensors.keys()
        for name, codes in expected_tensors.items():
            np.testing.assert_array_equal(tensors[name], codes[index], err_msg=name)
        np.testing.assert_array_equal(logits, expected_logits[index])
        assert logits.dtype == np.int32


def check_batches(net, config, seed):
    """Likewise of a program that takes several pictures, one after the other and others in between. Returns how many
    pictures it takes."""
    image = batched(net, config, seed)
    interpreter = Interpreter(image)
    for pictures in (random_pictures(net, image.batch, seed), random_pictures(net, image.batch, seed + 1)):
        logits, writes = interpreter.run(pictures)
        np.testing.assert_array_equal(logits, golden.forward(net, pictures))
        assert logits.dtype == np.int32
        expected = golden.trace(net, pictures)
        for k in range(image.batch):
            tensors = image.tensors(*writes, picture=k)
            assert tensors.keys() == expected.keys()
            for name, codes in expected.items():
                np.testing.assert_array_equal(tensors[name], codes[k], err_msg=f"{name}, picture {k}")
    return image.batch


def pictures_of(net, seed=0):
    return np.concatenate([random_pictures(net, 2, seed), corner_pictures(net)])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", VARIANTS)
def test_random_nets(name, seed):
    net = random_net(seed, VARIANTS[name])
    check(net, VARIANTS[name], pictures_of(net, seed))


@pytest.mark.parametrize("name", VARIANTS)
def test_random_nets_in_batches(name):
    """And residuals in place. Not every net has room for a batch."""
    taken = [check_batches(make(seed, VARIANTS[name]), VARIANTS[name], seed)
             for make in (random_net, residual_net) for seed in (0, 1, 6)]
    assert max(taken) > 1


@pytest.mark.parametrize("change", [-1, 1])
def test_wrong_number_of_pictures(change):
    net = random_net(0, TINY)
    image = batched(net, TINY, 0)
    assert image.batch > 1
    with pytest.raises(ValueError, match="takes fewer than|takes more pictures"):
        Interpreter(image).run(random_pictures(net, image.batch + change))


@pytest.mark.parametrize("name", VARIANTS)
def test_residuals_in_place(name):
    for seed in range(4):
        net = residual_net(seed, VARIANTS[name])
        check(net, VARIANTS[name], pictures_of(net, seed))


@pytest.mark.parametrize("config", [
    replace(R16C16P2, activation_depth=16384), replace(R8C8P2, activation_depth=16384, sdram_hz=100_000_000),
    replace(TINY, name="2-parts", rows=8, activation_depth=8192, sdram_hz=100_000_000)], ids=lambda config: config.name)
@pytest.mark.parametrize("name", SIZES)
def test_sizes(name, config):
    """Pictures of up to 127 pixels a side and one channel or three, up to 1,000 classes; bands, and one buffer where
    two do not fit."""
    net = sized_net(name)
    check(net, config, pictures_of(net))


@pytest.mark.parametrize("name", ["tiny", "2-parts", "16x16x2"])
def test_one_picture_buffer_with_bands(name):
    """The least memory that holds the net, and accumulators for a quarter of its first map."""
    config = replace(VARIANTS[name], sdram_hz=100_000_000)
    net = sized_net("grey")
    with pytest.raises(DoesNotFit, match="bank rows of activation memory") as caught:
        compile_net(net, replace(config, activation_depth=1))
    least = replace(config, activation_depth=caught.value.need, accumulator_depth=100)
    assert place(net, least)[PICTURE].second == 0
    assert [len(bands(place(net, least)[layer.name], least)) for layer in net.layers] == [4, 4, 4, 1, 1]
    check(net, least, pictures_of(net))


@pytest.mark.parametrize("config", [R16C16P2, R16C16P1], ids=lambda config: config.name)
def test_resnet8(config):
    net = resnet8_like()
    check(net, config, pictures_of(net))


@pytest.mark.parametrize("name", VARIANTS)
def test_nothing_leaks_from_image_to_image(name):
    """Memories full of other codes, and other images before, change nothing."""
    config = VARIANTS[name]
    net = random_net(11, config)
    image = compile_net(net, config)
    pictures = pictures_of(net)
    fresh = [run(image, Interpreter(image), pixels) for pixels in pictures]
    used = Interpreter(image)
    used.activations[:] = (1 << config.a_bits) - 1
    for index in (0, 2, 1, 3, 3, 0, 1):
        tensors, logits = run(image, used, pictures[index])
        np.testing.assert_array_equal(logits, fresh[index][1])
        for layer, codes in fresh[index][0].items():
            np.testing.assert_array_equal(tensors[layer], codes, err_msg=layer)


@pytest.mark.parametrize("height, width", [(1, 1), (1, 7), (5, 3), (8, 8)])
@pytest.mark.parametrize("name", ["tiny", "tiny-1px", "4-parts"])
def test_picture_sizes(name, height, width):
    build = NetBuilder(np.random.default_rng(height * width), (3, height, width))
    layer = build.layer(build.conv(PICTURE, 5))
    layer = build.layer(build.conv(layer, 6, stride=2), build.conv(PICTURE, 6, stride=2))
    build.logits(layer, 9)
    check(build.net(), VARIANTS[name], pictures_of(build.net()))


@pytest.mark.parametrize("side", range(2, 8))
def test_max_pool_sizes(side):
    build = NetBuilder(np.random.default_rng(side), (3, side, 9 - side))
    build.logits(build.max_pool(build.layer(build.conv(PICTURE, 6))), 3)
    check(build.net(), TINY, pictures_of(build.net()))


@pytest.mark.parametrize("gain", [
    [0, 0, 0, 0, 0], [1, 0, 3, 15, 2], [16, 255, 4095, 0, 1], [-1, -1, -1, -1, -1],
    [-8, 7, 0, 3, -1], [-2048, 2047, 5, -5, 0], [1 << 12, -(1 << 12), 0, 0, 1 << 13],
    [-30000, 29999, 1, 0, -1]])
def test_residual_gains(gain):
    build = NetBuilder(np.random.default_rng(1), (3, 4, 5))
    layer = build.layer(build.conv(PICTURE, len(gain)))
    skip = Skip(source=layer, gain=np.array(gain, dtype=np.int32))
    build.logits(build.layer(build.conv(layer, len(gain)), skip), 3)
    check(build.net(), TINY, pictures_of(build.net()))


@pytest.mark.parametrize("w_bits, shift", [(8, 0), (8, 3), (6, 0), (5, 1), (1, 0)])
@pytest.mark.parametrize("style", ["index", "affine", "table"])
@pytest.mark.parametrize("name", ["tiny", "2-bit"])
def test_weight_digits(name, style, w_bits, shift):
    build = NetBuilder(np.random.default_rng(w_bits), (3, 4, 4))
    layer = build.layer(build.conv(PICTURE, 4, w_bits=w_bits, style=style), a_bits=2)
    terms = [build.conv(layer, 4, w_bits=w_bits, style=style, shift=shift)]
    terms += [build.conv(layer, 4, kernel=1, w_bits=2, style=style)]
    build.logits(build.layer(*terms, a_bits=2), 3, w_bits=w_bits, style=style)
    check(build.net(), VARIANTS[name], pictures_of(build.net()))


@pytest.mark.parametrize("sign", [1, -1])
def test_accumulators_at_their_extremes(sign):
    """The sum of the middle pixel is the largest (smallest) that 16 bits may hold."""
    net = extreme_net(sign * 303, sign * 14)
    check(net, replace(TINY, acc_bits=16), corner_pictures(net))
    _, total, _ = net.layers[1].thresholds[0]
    assert total == sign * 32766
    assert golden.trace(net, corner_pictures(net))["extreme"][1, 0, 1, 1] == 2


def test_accumulators_beyond_their_extremes():
    with pytest.raises(DoesNotFit, match="range of the accumulator"):
        compile_net(extreme_net(303, 15), replace(TINY, acc_bits=16))


def test_logits_of_the_picture_itself():
    """No activation is ever written, and 9 classes take three tiles."""
    build = NetBuilder(np.random.default_rng(0), (3, 5, 7))
    build.logits(PICTURE, 9)
    check(build.net(), TINY, pictures_of(build.net()))


def test_logits_of_several_terms():
    build = NetBuilder(np.random.default_rng(0), (3, 5, 7))
    layer = build.layer(build.conv(PICTURE, 6))
    build.logits(layer, 6)
    logits = build.layers[-1]
    build.layers[-1] = replace(logits, terms=(*logits.terms, build.skip(layer)))
    check(build.net(), TINY, pictures_of(build.net()))


def test_wrong_picture_shape():
    net = random_net(0, TINY)
    with pytest.raises(ValueError, match="the picture must be"):
        Interpreter(compile_net(net, TINY)).run(np.zeros((1, 3, 1, 1), np.uint8))


def test_a_sum_beyond_the_accumulator_is_no_result():
    """Were the compiler's proof wrong, the interpreter would say so: an image of 22 bits on accumulators of 16."""
    image = compile_net(extreme_net(303, 15), TINY)
    narrow = Interpreter(replace(image, config=replace(TINY, acc_bits=16),
                                 thresholds=image.thresholds.clip(-1 << 15, (1 << 15) - 1)))
    white = np.full((3, 3, 3), 255, dtype=np.uint8)
    with pytest.raises(OverflowError, match="of 16 bits is too narrow"):
        narrow.run(white[None])
    narrow.run(np.zeros_like(white)[None])


def test_nothing_behind_the_last_logits_is_executed():
    net = random_net(2, TINY)
    image = compile_net(net, TINY)
    more = replace(image, program=np.concatenate([image.program[:-1], image.program]))     # no End between
    pictures = pictures_of(net)
    interpreter = Interpreter(more)
    for pixels, logits in zip(pictures, golden.forward(net, pictures), strict=True):
        np.testing.assert_array_equal(interpreter.run(pixels[None])[0][0], logits)
