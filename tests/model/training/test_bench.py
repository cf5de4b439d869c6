"""The speed measurement: every loop trains, and the rows say what they compare."""
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from model import __main__ as command  # noqa: E402
from model.commands import bench as commands_bench  # noqa: E402
from model.data import datasets, synthetic  # noqa: E402
from model.training import bench, train  # noqa: E402
from tests.model.test_main import recorded  # noqa: E402

pytestmark = pytest.mark.train


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    pictures = datasets.Dataset("synthetic", "train",
                                *synthetic.chunk(np.random.default_rng(0), 800), synthetic.CLASSES)
    monkeypatch.setattr(datasets, "load", lambda *_: pictures)
    monkeypatch.setattr(train, "compiled", lambda net: net)


@pytest.mark.slow
def test_rows(capsys, monkeypatch):
    found = recorded(monkeypatch, commands_bench)
    assert command.main(["bench", "resnet8half", "--steps", "1", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["loop"] for row in rows] == ["float", "uniform", "uniform, distilled", "plain", "plain, distilled",
                                             "uniq", "uniq, distilled", "learned", "learned, distilled",
                                             "plain loop, fake quantization"]
    assert rows[0]["over_float"] == 1
    [(total, done)] = found
    assert total == sum(done) == 10 * (1 + bench.WARM_UP)
    for row in rows:
        assert row["images_per_second"] > 0
        assert row["over_float"] == pytest.approx(rows[0]["images_per_second"] / row["images_per_second"], rel=0.02)


def test_profile_names_the_convolutions(capsys):
    assert command.main(["bench", "resnet8half", "--profile"]) == 0
    out = capsys.readouterr().out
    assert "aten::convolution_backward" in out and out.count(" % ") == 12


def test_plain_pictures_are_normalized_windows():
    pictures = bench.PlainPictures(datasets.load("synthetic", "train"))
    image, label = pictures[3]
    assert image.dtype == torch.float32 and image.shape == (3, 32, 32) and label == pictures.labels[3]
    restored = (image * bench.STD + bench.MEAN) * 255
    assert torch.allclose(restored, restored.round(), atol=1e-3)
