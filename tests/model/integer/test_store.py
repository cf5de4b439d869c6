"""Net files: what is written comes back, everything else is refused in one line."""
import dataclasses
import json
import pickle
import zipfile

import numpy as np
import pytest

from model import zoo
from model.common.errors import UserError
from model.integer import golden, store
from model.integer.net import MaxPool
from tests.nets import every_term_net, random_pictures


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "net.npz"
    store.save(every_term_net(), path)
    return path


def test_round_trip(saved):
    net, back = every_term_net(), store.load(saved)
    assert (back.name, back.input_shape, back.classes, back.header) == (
        net.name, net.input_shape, net.classes, net.header)
    assert store.digest(back) == store.digest(net)
    images = random_pictures(net, 2)
    np.testing.assert_array_equal(golden.forward(back, images), golden.forward(net, images))
    for layer, expected in zip(back.layers, net.layers, strict=True):
        if not isinstance(layer, MaxPool):
            np.testing.assert_array_equal(layer.bias, expected.bias)
    assert [path.name for path in saved.parent.iterdir()] == ["net.npz"]


def test_digest_covers_integers_and_names_but_not_the_header():
    net = every_term_net()
    assert store.digest(dataclasses.replace(net, header={"seed": 2})) == store.digest(net)
    assert store.digest(dataclasses.replace(net, name="other")) != store.digest(net)
    assert store.digest(every_term_net(1)) != store.digest(net)
    layer = dataclasses.replace(net.layers[0], bias=net.layers[0].bias + 1)
    assert store.digest(dataclasses.replace(net, layers=(layer, *net.layers[1:]))) != store.digest(net)
    digests = {store.digest(dataclasses.replace(net, layers=tuple(dropping(net, 1, drop)))) for drop in (0, 1, 2)}
    assert len(digests) == 3 and store.digest(net) in digests


def refused(path, match="."):
    with pytest.raises(UserError, match=match) as caught:
        store.load(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_every_truncation_is_refused(saved):
    content = saved.read_bytes()
    for length in (0, 1, 100, len(content) // 2, len(content) - 1):
        saved.write_bytes(content[:length])
        refused(saved)


def test_corrupt_bytes_are_refused(saved):
    content = saved.read_bytes()
    digest = store.digest(every_term_net())
    rng = np.random.default_rng(0)
    for position in rng.integers(0, len(content), 60):
        changed = bytearray(content)
        changed[position] ^= 0x55
        saved.write_bytes(changed)
        try:
            assert store.digest(store.load(saved)) == digest        # archives have bytes without a meaning
        except UserError as error:
            assert str(saved) in str(error)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    for content in (b"no net at all", b"\x89PNG\r\n\x1a\n" + bytes(99), pickle.dumps({"a": 1})):
        path.write_bytes(content)
        refused(path)
    np.savez(path, a=np.arange(3))
    refused(path)
    np.savez(path, header=np.array([object()], dtype=object))
    refused(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    refused(path)
    np.savez(path, header=np.frombuffer(json.dumps({"format": "net 0"}).encode(), np.uint8))
    refused(path, "format 'net 0'")
    np.savez(path, header=np.frombuffer(b"[1, 2]", np.uint8))
    refused(path)
    store.save(dataclasses.replace(every_term_net(), header=["no", "names"]), path)
    refused(path, "names and values")


def test_a_changed_integer_is_refused(saved):
    with np.load(saved) as archive:
        arrays = dict(archive)
    arrays["a.bias"] = arrays["a.bias"] + 1
    np.savez(saved, **arrays)
    refused(saved, "digest")


def dropping(net, index, drop):
    """The layers, the first term of one of them with another drop."""
    layer = net.layers[index]
    terms = (dataclasses.replace(layer.terms[0], drop=drop), *layer.terms[1:])
    return [*net.layers[:index], dataclasses.replace(layer, terms=terms), *net.layers[index + 1:]]


@pytest.mark.parametrize("change, match", [
    (lambda net: net.layers[1:], "unknown tensor"),
    (lambda net: net.layers[:-1], "logits"),
    (lambda net: (dataclasses.replace(net.layers[0], thresholds=net.layers[0].thresholds[:, ::-1]), *net.layers[1:]),
     "ascend"),
    (lambda net: (dataclasses.replace(net.layers[0], a_bits=3), *net.layers[1:]), "thresholds of shape"),
    (lambda net: (net.layers[0], *net.layers), "two layers"),
    (lambda net: dropping(net, 0, 1), "leaves out 1 low bits of image"),
    (lambda net: dropping(net, 1, 4), "leaves out 4 low bits of a"),
    (lambda net: dropping(net, 3, 3), "leaves out 3 low bits of c"),
    (lambda net: dropping(net, 4, -1), "leaves out -1 low bits of d"),
    (lambda net: (), "no layers"),
])
def test_nets_that_do_not_fit_together_are_refused(tmp_path, change, match):
    net = every_term_net()
    path = tmp_path / "net.npz"
    store.save(dataclasses.replace(net, layers=tuple(change(net))), path)
    refused(path, match)


def test_unknown_names_and_folders(tmp_path):
    with pytest.raises(UserError, match="resnet9.*" + zoo.SYNTHETIC):
        zoo.load("resnet9")
    with pytest.raises(UserError, match="a folder; wanted: the .npz"):
        zoo.load(tmp_path)
