# amaranth: UnusedElaboratable=no
"""The whole board in pysim, through its UART pins: every command, every refusal, and the next picture right after it."""
from dataclasses import replace

import numpy as np
import pytest

from accel import link
from accel.compile import compile_net
from accel.config import TINY
from accel.cycles import cycles
from accel.interp import Interpreter
from accel.rtl.core import Preset
from accel.rtl.system import System

from .nets import random_net
from .system_bench import CYCLES_PER_BIT, converse

CONFIG = replace(TINY, clock_hz=100e6)
TIMEOUT = 5000
ENTRIES_A_FRAME = 100


def image_of(seed):
    images = [compile_net(random_net(seed * 10 + k, CONFIG), CONFIG) for k in range(4)]
    return min(images, key=cycles)


def system(image=None, **options):
    preset, net = (None, None) if image is None else Preset.of(image)
    return System(CONFIG, baud=CONFIG.clock_hz / CYCLES_PER_BIT, preset=preset, net=net, timeout=TIMEOUT, **options)


def picture_of(image, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (3, *image.image_shape), dtype=np.uint8)


def pixels(picture):
    return picture.transpose(1, 2, 0).tobytes()


def check_answer(image, picture, frame, sequence):
    kind, echoed, payload = frame
    assert (kind, echoed) == (link.Command.INFER | link.REPLY, sequence)
    logits = Interpreter(image).run(picture)[0]
    np.testing.assert_array_equal(np.frombuffer(payload[:-6], "<i4"), logits)
    assert int.from_bytes(payload[-6:-4], "little") == int(np.argmax(logits))
    assert int.from_bytes(payload[-4:], "little") == cycles(image)


def refused(frame, sequence, fault):
    assert frame == (link.Command.ERROR | link.REPLY, sequence, bytes([fault])), frame


@pytest.fixture(scope="module")
def image():
    return image_of(1)


def load_frames(image, config=CONFIG):
    """Frames that load `image`, LOAD frames of ENTRIES_A_FRAME entries."""
    entries, end = link.image_entries(image)
    size = ENTRIES_A_FRAME * link.size(link.LoadEntry)
    frames = [(link.Command.BEGIN_LOAD, link.as_bytes(link.BeginLoad, {"config": link.digest_number(config.digest())}))]
    frames += [(link.Command.LOAD, link.as_bytes(link.LoadIndex, {"index": at // link.size(link.LoadEntry)})
                + entries[at:at + size]) for at in range(0, len(entries), size)]
    return [*frames, (link.Command.END_LOAD, link.as_bytes(link.EndLoad, end))]


def test_info_says_what_the_device_is_and_what_it_holds(image):
    async def script(send, receive, wait):
        await send(link.frame(link.Command.INFO, 7))
        kind, sequence, payload = await receive()
        assert (kind, sequence) == (link.Command.INFO | link.REPLY, 7)
        info = link.from_bytes(link.Info, payload)
        for name, value in link.info_of(CONFIG, baud=CONFIG.clock_hz / CYCLES_PER_BIT).items():
            if name != "gateware":
                assert info[name] == value, name
        assert tuple(info.gateware[i] for i in range(3)) == link.GATEWARE
        assert info.config.to_bytes(8, "little").hex() == CONFIG.digest()
        assert info.net.to_bytes(8, "little").hex() == image.net_digest[:16]
        assert (info.loaded, info.n_logits) == (1, image.n_logits)
        assert info.pixel_bytes == 3 * image.image_shape[0] * image.image_shape[1]
    converse(system(image), script)


def test_the_preset_net_classifies_at_once_and_two_pictures_overlap(image):
    first, second, third = (picture_of(image, seed) for seed in range(3))
    dut = system(image)

    async def script(send, receive, wait):
        await send(link.frame(link.Command.INFER, 1, pixels(first)))
        await send(link.frame(link.Command.INFER, 2, pixels(second)))
        check_answer(image, first, await receive(), 1)
        await send(link.frame(link.Command.INFER, 3, pixels(third)))
        check_answer(image, second, await receive(), 2)
        check_answer(image, third, await receive(), 3)
    converse(dut, script)


def test_a_net_is_loaded_and_another_after_it():
    nets = [image_of(2), image_of(3)]

    async def script(send, receive, wait):
        await send(link.frame(link.Command.INFER, 9, bytes(12)))
        refused(await receive(), 9, link.Fault.NOT_LOADED)
        for image in nets:
            for sequence, (kind, payload) in enumerate(load_frames(image)):
                await send(link.frame(kind, sequence, payload))
                answer = await receive()
                assert answer[:2] == (kind | link.REPLY, sequence), answer
            picture = picture_of(image)
            await send(link.frame(link.Command.INFER, 200, pixels(picture)))
            check_answer(image, picture, await receive(), 200)
    converse(system(), script, timeout=4_000_000)


def test_an_interrupted_load_goes_on_where_it_stopped(image):
    frames = load_frames(image)
    assert len(frames) >= 4

    async def script(send, receive, wait):
        async def ask(kind, payload, sequence=1):
            await send(link.frame(kind, sequence, payload))
            return await receive()

        await ask(*frames[0])
        await ask(*frames[1])
        await send(link.frame(*frames[2][:1], 5, frames[2][1])[:-100])      # cut off
        await wait(2 * TIMEOUT)
        refused(await receive(), 5, link.Fault.TIMEOUT)
        refused(await ask(*frames[-1]), 1, link.Fault.IMAGE_CHECK)          # not all of it is there
        refused(await ask(link.Command.INFER, pixels(picture_of(image))), 1, link.Fault.NOT_LOADED)
        refused(await ask(*frames[1]), 1, link.Fault.ORDER)                 # sent twice
        status = link.from_bytes(link.Status, (await ask(link.Command.STATUS, b""))[2])
        assert (status.load_next, status.loaded, status.timeouts) == (ENTRIES_A_FRAME, 0, 1)
        for kind, payload in frames[2:]:
            assert (await ask(kind, payload))[0] == kind | link.REPLY
        picture = picture_of(image)
        await send(link.frame(link.Command.INFER, 3, pixels(picture)))
        check_answer(image, picture, await receive(), 3)
    converse(system(), script, timeout=4_000_000)


def _flipped(frame, at):
    return frame[:at] + bytes([frame[at] ^ 0x10]) + frame[at + 1:]


@pytest.mark.parametrize("name", ["noise", "header", "payload", "check", "version", "command", "length", "truncated",
                                  "config", "third picture", "reset"])
def test_after_every_fault_the_next_picture_is_right(image, name):
    picture = picture_of(image)
    good = link.frame(link.Command.INFER, 20, pixels(picture))

    async def script(send, receive, wait):
        async def refuses(octets, fault, sequence=20):
            await send(octets)
            refused(await receive(), sequence, fault)

        if name == "noise":
            await send(np.random.default_rng(3).integers(0, 256, 300, dtype=np.uint8).tobytes() + b"\xa5")
            await wait(2 * TIMEOUT)
        elif name == "header":
            await refuses(_flipped(good, 5), link.Fault.HEADER_CHECK)
        elif name == "payload":
            await refuses(_flipped(good, 40), link.Fault.FRAME_CHECK)
        elif name == "check":
            await refuses(_flipped(good, len(good) - 1), link.Fault.FRAME_CHECK)
        elif name == "version":
            await refuses(link.frame(link.Command.INFO, 20, version=2), link.Fault.VERSION)
        elif name == "command":
            await refuses(link.frame(0x55, 20), link.Fault.COMMAND)
        elif name == "length":
            await refuses(link.frame(link.Command.INFER, 20, pixels(picture)[:-1]), link.Fault.LENGTH)
        elif name == "truncated":
            await send(good[:60])
            await wait(2 * TIMEOUT)
            refused(await receive(), 20, link.Fault.TIMEOUT)
        elif name == "config":
            await refuses(link.frame(link.Command.BEGIN_LOAD, 20, bytes(8)), link.Fault.CONFIG)
        elif name == "third picture":
            assert cycles(image) > 3 * 10 * CYCLES_PER_BIT              # or the first would be done before the third
            for sequence in range(2):
                await send(link.frame(link.Command.INFER, sequence, pixels(picture)))
            await send(link.frame(link.Command.INFER, 2, pixels(picture)))
            answers = [await receive() for _ in range(3)]
            for answer in answers:
                if answer[0] == link.Command.ERROR | link.REPLY:
                    refused(answer, 2, link.Fault.BUSY)
                else:
                    check_answer(image, picture, answer, answer[1])
        elif name == "reset":
            await send(link.frame(link.Command.INFER, 1, pixels(picture)))
            await send(link.frame(link.Command.INFER, 2, pixels(picture)))
            await send(link.frame(link.Command.RESET, 3))
            while (answer := await receive())[0] != link.Command.RESET | link.REPLY:
                check_answer(image, picture, answer, answer[1])
            assert answer == (link.Command.RESET | link.REPLY, 3, b"")
        await send(good)
        check_answer(image, picture, await receive(), 20)
    converse(system(image), script)
