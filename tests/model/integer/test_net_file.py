"""docs/net-file.md is enough to read a net: its reader gives the golden model's logits, its bytes are right."""
import re
from pathlib import Path

import numpy as np
import pytest
from tests.model.random_net import random_images, random_net

from model import zoo
from model.common.bits import pack_codes, unpack_codes
from model.data import datasets
from model.integer import golden, store

PAGE = Path(__file__).parents[3] / "docs" / "net-file.md"


@pytest.fixture(scope="module")
def reader():
    """Names that the page's code defines. It stands alone: it may import what a stranger has."""
    code, = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert set(re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)) == {"hashlib", "json", "numpy"}
    names = {}
    exec(compile(code, PAGE, "exec"), names)
    return names


@pytest.mark.parametrize("net, count", [
    ("resnet8-w4a4-cifar10", 20), ("resnet8-w4a4-uniq-cifar10", 4),
    ("resnet20-w2a2r4-cifar10", 4),                                     # codes of which convolutions see half
    ("vgg-w4a4-cifar10", 2)])                                           # max-pool
def test_the_reader_on_the_page_gives_the_logits_of_nets_of_the_zoo(reader, net, count):
    pictures = datasets.load("synthetic", "test").pictures[:count]
    header, arrays = reader["read"](zoo.FOLDER / f"{net}.npz")
    got = np.stack([reader["logits"](header, arrays, picture) for picture in pictures])
    np.testing.assert_array_equal(got, golden.forward(zoo.load(net), pictures))


def test_the_reader_on_the_page_knows_every_kind_of_term(reader, tmp_path):
    store.save(random_net(), tmp_path / "net.npz")
    header, arrays = reader["read"](tmp_path / "net.npz")
    pictures = random_images(3)
    got = np.stack([reader["logits"](header, arrays, picture) for picture in pictures])
    np.testing.assert_array_equal(got, golden.forward(random_net(), pictures))


def test_the_reader_on_the_page_refuses_another_integer(reader, tmp_path):
    store.save(random_net(), tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["a.bias"][0] += 1
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(ValueError, match="damaged"):
        reader["read"](tmp_path / "other.npz")


def test_bytes_of_packed_weights_are_those_on_the_page():
    row = r"^\| ([\d, ]+) \| (\d) \| [01, ]+ \| `([01 ]+)` \| `([0-9A-F ]+)` \|$"
    rows = re.findall(row, PAGE.read_text(), re.MULTILINE)
    assert len(rows) == 2
    for codes, bits, stream, packed in rows:
        codes = np.array([int(code) for code in codes.split(",")], np.uint8)
        data = np.frombuffer(bytes.fromhex(packed), np.uint8)
        np.testing.assert_array_equal(pack_codes(codes, int(bits)), data)
        np.testing.assert_array_equal(unpack_codes(data, codes.shape, int(bits)), codes)
        assert "".join(f"{byte:08b}" for byte in data).startswith(stream.replace(" ", ""))
