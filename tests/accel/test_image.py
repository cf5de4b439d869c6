"""Image files, memory words and the decoding of traces."""
import zlib
from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.lib import data
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from accel import image as image_module
from accel.compiler.compile import compile_net
from accel.config import TINY, TINY_SDRAM
from accel.image import load, save
from accel.isa import LoadKind, Play, Settings, unpacked
from model.common.bits import pack_fields, unpack_fields
from model.common.errors import UserError
from tests.nets import random_net


@pytest.fixture(scope="module")
def image():
    return compile_net(random_net(0, TINY), TINY)


def assert_same(left, right):
    for name in image_module.ARRAYS:
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
        assert getattr(left, name).dtype == getattr(right, name).dtype
    scalars = [{k: v for k, v in asdict(i).items() if k not in image_module.ARRAYS}
               for i in (left, right)]
    assert scalars[0] == scalars[1]


# Memory words.

@settings(derandomize=True, deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(1, 40), st.integers(0, 5))
def test_fields_round_trip(draw, bits, fields, count):
    values = draw.draw(arrays.arrays(np.uint8, (count, fields),
                                     elements=st.integers(0, (1 << bits) - 1)))
    words = pack_fields(values, bits)
    assert words.dtype == np.uint64 and words.shape == (count, -(-fields * bits // 64))
    np.testing.assert_array_equal(unpack_fields(words, bits, fields), values)


def test_fields_are_an_amaranth_array():
    """The one definition of the packing is that of `ArrayLayout`, which the RTL uses."""
    values = np.random.default_rng(0).integers(0, 8, (3, 30))
    layout = data.ArrayLayout(3, 30)
    for row, words in zip(values, pack_fields(values, 3), strict=True):
        number = sum(int(word) << 64 * index for index, word in enumerate(words))
        assert number == layout.const([int(value) for value in row]).as_bits()


def test_load_words(image):
    """BEGIN, the tape, both halves of its check, PLAY."""
    kinds, words = image.load_words()
    assert (kinds.dtype, words.dtype) == (np.uint8, np.uint16)
    assert [LoadKind(int(kind)) for kind in kinds] == [
        LoadKind.BEGIN, *[LoadKind.WORD] * image.tape.size, LoadKind.CHECK, LoadKind.CHECK, LoadKind.PLAY]
    assert words[0] == 0
    np.testing.assert_array_equal(words[1:-3], image.tape.reshape(-1))
    assert int(words[-3]) | int(words[-2]) << 16 == zlib.crc32(image.tape.astype("<u2").tobytes())
    play = unpacked(Play, words[-1])
    assert (play.last, play.resident) == (len(image.tape) - 1, 1)
    settings = unpacked(Settings, image.settings)
    assert (settings.height, settings.width) == image.picture_shape


@pytest.mark.parametrize("memory", ["program", "weights", "thresholds"])
def test_resident(image, memory):
    """A net that one of the memories does not hold whole is played: PLAY says so."""
    depth = f"{memory.removesuffix('s') if memory != 'program' else memory}_depth"
    need = len(getattr(image, memory))
    exact = replace(image, config=SimpleNamespace(**vars(image.config) | {depth: need}))
    short = replace(image, config=SimpleNamespace(**vars(image.config) | {depth: need - 1}))
    assert exact.resident and not short.resident


def test_a_net_that_is_played():
    played = compile_net(random_net(0, TINY), TINY_SDRAM)
    assert not played.resident
    assert unpacked(Play, played.load_words()[1][-1]).resident == 0


# Files.

def test_file_round_trip(image, tmp_path):
    path = tmp_path / "net.npz"
    save(image, path)
    assert_same(load(path), image)
    assert [file.name for file in tmp_path.iterdir()] == ["net.npz"]
    first = path.read_bytes()
    save(load(path), path)
    assert path.read_bytes() == first


def refusal(path):
    with pytest.raises(UserError) as caught:
        load(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
    return str(caught.value)


def test_foreign_files(tmp_path):
    path = tmp_path / "file"
    assert refusal(path) == f"cannot read {path}: No such file or directory"
    assert refusal(tmp_path).startswith("cannot read")
    path.touch()
    assert refusal(tmp_path / "fiel") == (
        f"cannot read {tmp_path / 'fiel'}: No such file or directory; did you mean {path}?")
    assert refusal(path) == f"{path}: an empty file"
    path.write_bytes(b"PK\x03\x04")
    assert refusal(path).startswith(f"{path}: cut off after 4 bytes")
    for content in (b"hello\n", bytes(1000)):
        path.write_bytes(content)
        assert refusal(path) == f"{path} is damaged, or not an accelerator image"
    with open(path, "wb") as file:
        np.save(file, np.arange(3))
    assert refusal(path).endswith("not an accelerator image")
    with open(path, "wb") as file:
        np.savez(file, header=np.array("{}"), **{name: np.zeros(1) for name in [*image_module.ARRAYS, "tape"]})
    assert refusal(path).endswith("not an accelerator image of this version (uniqore-image-3)")
    with open(path, "wb") as file:                              # one of version 1 has no tape
        np.savez(file, header=np.array('{"format": "uniqore-image-1"}'),
                 **{name: np.zeros(1) for name in image_module.ARRAYS})
    assert refusal(path).endswith("not an accelerator image of this version (uniqore-image-3)")


def test_truncated_files(image, tmp_path):
    path = tmp_path / "net.npz"
    save(image, path)
    whole = path.read_bytes()
    for length in np.linspace(0, len(whole) - 1, 25, dtype=int):
        path.write_bytes(whole[:length])
        refusal(path)


def test_flipped_bits(image, tmp_path):
    """A flipped bit is found, or is one that means nothing to the file format."""
    path = tmp_path / "net.npz"
    save(image, path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    found = 0
    for position in rng.integers(0, len(whole), 200):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            read = load(path)
        except UserError:
            found += 1
        else:
            assert_same(read, image)
    assert found > 150


@pytest.mark.parametrize("change", [
    lambda header: header["config"].update(rows=5),
    lambda header: header["config"].update(colour="red"),
    lambda header: header["config"].pop("rows"),
    lambda header: header.update(n_logits=99),
    lambda header: header.update(layers=7),
    lambda header: header.pop("settings"),
    lambda header: header.pop("digest"),
])
def test_changed_headers(image, tmp_path, monkeypatch, change):
    """A header that is whole JSON but not this image's."""
    path = tmp_path / "net.npz"
    dumps = image_module.json.dumps

    def changed_dumps(header, **options):
        if "digest" in header:
            change(header)
        return dumps(header, **options)

    monkeypatch.setattr(image_module.json, "dumps", changed_dumps)
    save(image, path)
    assert refusal(path).endswith("its digest is not that of its contents")


def test_other_arrays(image, tmp_path):
    path = tmp_path / "net.npz"
    save(image, path)
    with np.load(path) as file:
        content = dict(file)
    for name in ("weights", "tape"):
        changed = content | {name: content[name] ^ content[name].dtype.type(1)}
        with open(path, "wb") as file:
            np.savez(file, **changed)
        assert refusal(path).endswith("its digest is not that of its contents")


def test_nothing_half_written(image, tmp_path):
    with pytest.raises(UserError, match="cannot write .*: No such file or directory"):
        save(image, tmp_path / "missing" / "net.npz")


# Traces.

def test_foreign_traces(image):
    count = sum(layer.writes for layer in image.layers)
    groups, codes = np.zeros(count, np.uint32), np.zeros((count, 1), np.uint64)
    with pytest.raises(ValueError, match=f"has {count} writes, not {count - 1}"):
        image.tensors(groups[1:], codes[1:])
    with pytest.raises(ValueError, match="layer layer0: a write outside its tensor"):
        image.tensors(groups, codes)
