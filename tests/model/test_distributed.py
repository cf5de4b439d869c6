"""Two processes train what one does: batches, gradients, batch-norm's statistics and the test accuracy are shared."""
import contextlib
import os
import socket
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from model import data, synthetic, train  # noqa: E402
from model.distributed import process_group  # noqa: E402
from model.errors import UserError  # noqa: E402
from model.nets import arch  # noqa: E402
from model.network import Network, QuantConfig  # noqa: E402

pytestmark = pytest.mark.train
SCHEDULE = train.Schedule(epochs=2, rate=0.05, quantizer_rate=0.005, batch=32, settle=1, distill=0.5, cutout=4,
                          gradual=0.6)
CONFIGS = {"float": None, "learned": QuantConfig(), "uniq": QuantConfig(quantizer="uniq")}


def pictures(seed, count):
    return data.Dataset("synthetic", "train", *synthetic.chunk(np.random.default_rng(seed), count), synthetic.CLASSES)


def trained(kind, path, exact):
    """Parameters and buffers, and the log, after two epochs of five steps.

    exact: in float32 and through torch's operations; else in bfloat16 and, where they can be built, the fused ones.
    """
    torch.manual_seed(0)
    teacher = Network(arch("resnet8"), 10)
    net = Network(arch("resnet8"), 10, CONFIGS[kind])
    schedule = SCHEDULE if kind == "uniq" else replace(SCHEDULE, gradual=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "compiled", lambda net: net)
        if exact:
            patch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
        log = train.fit(net, pictures(1, 160), pictures(2, 500), schedule, path, header={}, compile_net=False,
                        teacher=teacher)
    return net.state_dict(), log


def worker(rank, size, port, kind, path, exact):
    """One process as torchrun would start it."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with process_group("cpu"):
        state, log = trained(kind, path / "shared.pt", exact)
        torch.save({"state": state, "log": log}, path / f"rank{rank}.pt")


def two_processes(kind, path, exact):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(worker, (2, port, kind, path, exact), nprocs=2)
    return [torch.load(path / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


def distance(state, other):
    """Largest difference of a tensor, relative to its size."""
    return max(((state[name] - value).norm() / (value.norm() + 1e-6)).item() for name, value in other.items())


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("exact, tolerance", [(True, 2e-3), (False, 5e-2)])
def test_two_processes_train_what_one_does(tmp_path, kind, exact, tolerance):
    alone, log = trained(kind, tmp_path / "alone.pt", exact)
    first, second = two_processes(kind, tmp_path, exact)
    assert distance(first["state"], second["state"]) < 1e-6           # the processes agree
    assert distance(first["state"], alone) < tolerance
    start = Network(arch("resnet8"), 10, CONFIGS[kind]).state_dict()
    assert distance(alone, start) > 10 * tolerance                     # and they did train
    assert first["log"][-1]["accuracy"] == second["log"][-1]["accuracy"]
    assert first["log"][-1]["loss"] == pytest.approx(log[-1]["loss"], rel=10 * tolerance)
    checkpoint = torch.load(tmp_path / "shared.pt", weights_only=True)
    assert distance(checkpoint["net"], first["state"]) == 0           # one of them wrote it


def test_batches_that_cannot_be_shared_are_refused(monkeypatch):
    monkeypatch.setattr(train, "world_size", lambda: 3)
    with pytest.raises(UserError, match="3 processes cannot share batches of 32"):
        train.Trainer(Network(arch("resnet8"), 10), pictures(1, 64), SCHEDULE)
