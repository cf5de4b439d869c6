"""The shipped nets, by name."""
import pytest

from model import zoo
from model.common.errors import UserError
from model.common.files import RUNS


@pytest.mark.parametrize("name", zoo.names())
def test_zoo(name):
    net = zoo.load(name)
    assert net.name == name
    assert net.header["accuracy"] > {"cifar100": 0.6}.get(net.header["dataset"], 0.75)


def test_zoo_has_the_nets_that_commands_default_to():
    assert zoo.names()[0] == zoo.DEFAULT and zoo.SYNTHETIC in zoo.names()


@pytest.mark.parametrize("name, message", [
    ("resnet8-w4a4-cifar",
     "resnet8-w4a4-cifar: neither a file nor a net of the zoo; did you mean resnet8-w4a4-cifar10?"),
    ("ResNet20-w4a4-CIFAR10",
     "ResNet20-w4a4-CIFAR10: neither a file nor a net of the zoo; did you mean resnet20-w4a4-cifar10?"),
    ("cat.pgn", "cat.pgn: neither a file nor a net of the zoo; did you mean cat.png?"),
    ("my/nte.npz", "my/nte.npz: neither a file nor a net of the zoo; did you mean my/net.npz?"),
    ("resnet8-w4a4-trained-cifar10", "resnet8-w4a4-trained-cifar10: neither a file nor a net of the zoo; "
     "did you mean runs/resnet8-w4a4-trained-cifar10/03_net.npz?"),
    ("x", f"x: neither a file nor a net of the zoo (known: {', '.join(zoo.names())})"),
    ("my", "my: a folder; wanted: the .npz of a net in it, or a net of the zoo"),
    ("my/02_qat.pt", "my/02_qat.pt: no integer net yet; python -m model export makes one of it"),
    ("my/net.onnx", "my/net.onnx: no integer net yet; python -m model import makes one of it")])
def test_a_name_that_is_no_net(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    for file in ("cat.png", "my/net.npz", "my/02_qat.pt", "my/net.onnx",
                 RUNS / "resnet8-w4a4-trained-cifar10" / "03_net.npz"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    with pytest.raises(UserError) as error:
        zoo.load(name)
    assert str(error.value) == message
