"""What `classify` is asked for: net, data set, range, picture files."""
import numpy as np
import pytest
from PIL import Image

from model import zoo
from model.common.errors import UserError
from model.data import datasets
from model.integer.net import IntegerNet
from model.zoo.workload import FILES, choose_workload, split_arguments

SIZE = 20


@pytest.fixture
def offline(monkeypatch):
    """A data set of SIZE pictures for every name but cifar10, which cannot be had."""
    asked = []

    def load(dataset, split, folder=None):
        asked.append((dataset, split, folder))
        if dataset == "cifar10":
            raise UserError("no such data")
        pictures = np.arange(SIZE * 3 * 32 * 32, dtype=np.uint32).astype(np.uint8).reshape(SIZE, 3, 32, 32)
        return datasets.Dataset(dataset, split, pictures, np.arange(SIZE) % 10, tuple("abcdefghij"))

    monkeypatch.setattr(datasets, "load", load)
    monkeypatch.delenv("CIFAR_DIR", raising=False)
    return asked


def choose(net=None, files=(), data_dir=None, start=None, images=None, default_images=5):
    return choose_workload(net, list(files), data_dir=data_dir, start=start, images=images,
                           default_images=default_images)


def test_the_first_argument_that_is_no_picture_is_the_net(tmp_path):
    assert split_arguments([]) == (None, [])
    assert split_arguments(["net"]) == ("net", [])
    assert split_arguments(["runs/03_net.npz", "a.png"]) == ("runs/03_net.npz", ["a.png"])
    assert split_arguments(["a.PNG", "b.jpg"]) == (None, ["a.PNG", "b.jpg"])
    Image.new("L", (2, 2)).save(tmp_path / "a.pgn", "PNG")
    assert split_arguments([str(tmp_path / "a.pgn")]) == (None, [str(tmp_path / "a.pgn")])


@pytest.mark.parametrize("arguments, late", [
    (["a.png", zoo.DEFAULT], zoo.DEFAULT), ([zoo.DEFAULT, "a.png", zoo.SYNTHETIC], zoo.SYNTHETIC),
    ([zoo.DEFAULT, "03_net.npz"], "03_net.npz")])
def test_a_net_behind_the_first_argument_is_an_error(arguments, late):
    with pytest.raises(UserError) as error:
        split_arguments(arguments)
    assert str(error.value) == f"{late} is a net: one net comes first, then picture files"


def test_without_data_and_network_the_procedural_pictures_are_classified(offline, capsys):
    workload = choose()
    assert workload.net.name == zoo.SYNTHETIC and workload.dataset == "synthetic"
    assert [name for name, _, _ in offline] == ["cifar10", "synthetic"]
    notice = capsys.readouterr().err
    assert notice.count("\n") == 1 and "procedural pictures" in notice and zoo.SYNTHETIC in notice


def test_who_asks_for_data_gets_no_other(offline, monkeypatch):
    with pytest.raises(UserError, match="no such data"):
        choose(data_dir="/some/folder")
    with pytest.raises(UserError, match="no such data"):
        choose(net=zoo.DEFAULT)
    monkeypatch.setenv("CIFAR_DIR", "/some/folder")
    with pytest.raises(UserError, match="no such data"):
        choose()


def test_synthetic_is_a_choice_of_its_own(offline, capsys):
    assert choose(data_dir="synthetic").net.name == zoo.SYNTHETIC
    workload = choose(net=zoo.DEFAULT, data_dir="synthetic")
    assert workload.net.name == zoo.DEFAULT
    assert workload.labels is None                              # theirs mean nothing
    assert workload.classes == tuple(zoo.load(zoo.DEFAULT).classes)
    assert {name for name, _, _ in offline} == {"synthetic"} and capsys.readouterr().err == ""


@pytest.mark.parametrize("start, images, chosen", [
    (None, None, range(0, 5)), (3, None, range(3, 8)), (18, None, range(18, 20)), (None, 20, range(0, 20)),
    (19, 1, range(19, 20))])
def test_range(offline, start, images, chosen):
    workload = choose(data_dir="synthetic", start=start, images=images)
    assert workload.start == chosen.start and workload.names == tuple(map(str, chosen))
    assert len(workload.pictures) == len(chosen)
    assert workload.labels.tolist() == [i % 10 for i in chosen]
    assert workload.class_name(3) == "d" and workload.class_name(12) == "12"


@pytest.mark.parametrize("start, images, message", [
    (20, None, "--start 20: the test set of synthetic has pictures 0 to 19"),
    (-1, None, "--start must be at least 0, not -1"), (0, 0, "--images must be at least 1, not 0"),
    (0, -3, "--images must be at least 1, not -3"), (20, 0, "--images must be at least 1, not 0"),
    (0, 21, "--images 21: from picture 0 on, the test set of synthetic has 20"),
    (15, 6, "--images 6: from picture 15")])
def test_a_range_outside_the_data_set_is_an_error(offline, start, images, message):
    with pytest.raises(UserError) as error:
        choose(data_dir="synthetic", start=start, images=images)
    assert str(error.value).startswith(message)


def test_picture_files(tmp_path, offline, monkeypatch):
    for name, colour in (("a.png", 10), ("b.bmp", 200)):
        Image.new("RGB", (48, 40), (colour, 0, 0)).save(tmp_path / name)
    workload = choose(files=[tmp_path / "a.png", tmp_path / "b.bmp"])
    assert workload.dataset == FILES and workload.labels is None and workload.names == ("a.png", "b.bmp")
    assert workload.net.name == zoo.DEFAULT and workload.pictures.shape == (2, 3, 32, 32)
    assert workload.pictures[:, 0].mean(axis=(1, 2)).tolist() == [10, 200] and not offline
    with pytest.raises(UserError, match="--start, --images and --data choose from a data set"):
        choose(files=[tmp_path / "a.png"], images=1)
    small = IntegerNet(name="small", layers=(), input_shape=(1, 8, 9))
    with monkeypatch.context() as patch:
        patch.setattr(zoo, "load", lambda name: small)
        workload = choose(net="small", files=[tmp_path / "a.png"])
    assert workload.pictures.shape == (1, 1, 8, 9) and (workload.pictures == 3).all()       # 0.299 of 10
    with pytest.raises(UserError, match="missing.png"):
        choose(files=[tmp_path / "missing.png"])


def test_pictures_of_another_shape_are_an_error(offline, monkeypatch):
    small = IntegerNet(name="small", layers=(), input_shape=(3, 8, 8), header={"dataset": "synthetic"})
    monkeypatch.setattr(zoo, "load", lambda name: small)
    with pytest.raises(UserError, match="the pictures of synthetic are 3 x 32 x 32, net small takes 3 x 8 x 8"):
        choose(net="small")


def test_a_net_that_does_not_say_its_data_set_is_an_error(offline, monkeypatch):
    monkeypatch.setattr(zoo, "load", lambda name: IntegerNet(name="bare", layers=()))
    with pytest.raises(UserError, match="does not say which data set"):
        choose(net="bare")
