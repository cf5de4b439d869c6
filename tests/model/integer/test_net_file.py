"""docs/net-file.md is enough to read a net: its reader gives the golden model's logits, its bytes are right."""
import re
from pathlib import Path

import numpy as np
import pytest

from model import zoo
from model.common.bits import pack_codes, unpack_codes
from model.data import datasets
from model.integer import golden, store

DOCS = Path(__file__).parents[3] / "docs"
PAGE = DOCS / "net-file.md"
NETS = {                                                                # pictures to classify, by file
    zoo.FOLDER / "resnet8-w4a4-cifar10.npz": 20,
    zoo.FOLDER / "resnet8-w4a4-synthetic.npz": 4,                       # a shift
    zoo.FOLDER / "resnet20-w2a2r4-cifar10.npz": 4,                      # codes of which convolutions see half
    zoo.FOLDER / "vgg-w4a4-cifar10.npz": 2,                             # max-pool
    DOCS / "measurements" / "one-budget" / "resnet8-w4a4-uniq-median-cifar10.npz": 4}       # a table of levels


@pytest.fixture(scope="module")
def reader():
    """Names that the page's code defines. It stands alone: it may import what a stranger has."""
    code, = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert set(re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)) == {"hashlib", "json", "numpy"}
    names = {}
    exec(compile(code, PAGE, "exec"), names)
    return names


@pytest.mark.parametrize("path, count", NETS.items(), ids=lambda value: getattr(value, "stem", value))
def test_the_reader_on_the_page_gives_the_golden_models_logits(reader, path, count):
    pictures = datasets.load("synthetic", "test").pictures[:count]
    header, arrays = reader["read"](path)
    got = np.stack([reader["logits"](header, arrays, picture) for picture in pictures])
    np.testing.assert_array_equal(got, golden.forward(store.load(path), pictures))


def test_these_nets_have_every_kind_of_layer_and_every_field(reader):
    headers = [reader["read"](path)[0] for path in NETS]
    layers = [layer for header in headers for layer in header["layers"]]
    terms = [term for layer in layers for term in layer.get("terms", ())]
    assert {layer["kind"] for layer in layers} == {"layer", "max_pool"}
    assert {term["kind"] for term in terms} == {"convolution", "skip"}
    convolutions = [term for term in terms if term["kind"] == "convolution"]
    for field in ("drop", "shift", "padding", "levels", "stride", "alpha", "w_bits"):
        assert len({str(term.get(field)) for term in convolutions}) > 1, field


def test_the_page_names_every_field(reader):
    documented = set(re.findall(r"`(\w+)`", PAGE.read_text()))
    for path in NETS:
        header, _ = reader["read"](path)
        assert header.keys() <= documented
        for layer in header["layers"]:
            assert layer.keys() <= documented | {"kind"}
            assert all(term.keys() <= documented | {"kind"} for term in layer.get("terms", ()))


def test_the_reader_on_the_page_refuses_another_integer(reader, tmp_path):
    with np.load(zoo.FOLDER / "resnet8-w4a4-cifar10.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    arrays["head.bias"][0] += 1
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
