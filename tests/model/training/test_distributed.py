"""Two processes train what one does: batches, gradients, batch-norm's statistics and the test accuracy are shared."""
import contextlib
import os
import socket
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from model.common.errors import UserError  # noqa: E402
from model.data import datasets, synthetic  # noqa: E402
from model.nets.specs import arch  # noqa: E402
from model.training import fused, train  # noqa: E402
from model.training.distributed import add_over_processes, leave, process_group, rank, world_size  # noqa: E402
from model.training.network import BatchNorm, Network, QuantConfig  # noqa: E402

pytestmark = pytest.mark.train
SCHEDULE = train.Schedule(epochs=2, rate=0.05, quantizer_rate=0.005, batch=32, settle=1, distill=0.5, cutout=4,
                          gradual=0.6)
CONFIGS = {"float": None, "learned": QuantConfig(), "uniq": QuantConfig(quantizer="uniq")}


def pictures(seed, count):
    return datasets.Dataset("synthetic", "train",
                            *synthetic.chunk(np.random.default_rng(seed), count), synthetic.CLASSES)


def trained(kind, path, exact=True):
    """Parameters and buffers, and the log, after two epochs of five steps.

    exact: in float64, where two processes differ from one by no more than the order of sums.
    """
    torch.manual_seed(0)
    teacher, net = Network(arch("resnet8"), 10), Network(arch("resnet8"), 10, CONFIGS[kind])
    schedule = SCHEDULE if kind == "uniq" else replace(SCHEDULE, gradual=0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "compiled", lambda net: net)
        if exact:
            teacher, net = teacher.double(), net.double()
            patch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
        log = train.fit(net, pictures(1, 160), pictures(2, 500), schedule, path, header={}, compile_net=False,
                        teacher=teacher)
    return {"state": net.state_dict(), "log": log}


def trained_as_usual(kind, path):
    """The same in bfloat16, through the fused kernels where they can be built."""
    return trained(kind, path, exact=False)


def fused_layer(_kind, _path):
    """Codes and gradients of batch-norm and quantizer in the fused kernels, over this process's part of a batch; sums
    over the batch added up."""
    generator = torch.Generator().manual_seed(0)
    x, down = (torch.randn(8, 16, 6, 6, generator=generator).bfloat16() * 2 for _ in range(2))
    part = slice(rank() * 8 // world_size(), (rank() + 1) * 8 // world_size())
    results = []
    for function, given in ((fused.norm_segment, (torch.linspace(-0.5, 2, 9),)),
                            (fused.norm_compand, (torch.full((16,), 4.0), torch.full((16,), 1.0)))):
        norm = BatchNorm(16)
        piece, k, b, *rest = (t.clone().requires_grad_() for t in (
            x[part].to(memory_format=torch.channels_last), torch.ones(16), torch.zeros(16), *given))
        if function is fused.norm_segment:
            y = function(piece, k, b, *rest, norm, 1.0)
        else:
            y = function(piece, rest[0], k, b, rest[1], norm, 7, 1.0)
        y.backward(down[part])
        results += [y.detach(), piece.grad, norm.running_mean, norm.running_var]
        results += [add_over_processes(t.grad) for t in (k, b, *rest)]
    return results


def worker(rank, job, size, port, kind, path):
    """One process as torchrun would start it."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with process_group("cpu"):
        torch.save(job(kind, path / "shared.pt"), path / f"rank{rank}.pt")
    leave()


def two_processes(job, kind, path):
    """What job(kind, checkpoint) returns in each of two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(worker, (job, 2, port, kind, path), nprocs=2)
    return [torch.load(path / f"rank{rank}.pt", weights_only=True) for rank in range(2)]


def distance(state, other):
    """Largest difference of any tensor."""
    return max((state[name] - value).abs().max().item() for name, value in other.items())


@pytest.mark.slow
@pytest.mark.parametrize("kind", CONFIGS)
def test_two_processes_train_what_one_does(tmp_path, kind):
    alone = trained(kind, tmp_path / "alone.pt")
    first, second = two_processes(trained, kind, tmp_path)
    assert distance(first["state"], second["state"]) < 1e-12          # the processes agree
    assert distance(first["state"], alone["state"]) < 1e-6
    torch.manual_seed(1)
    assert distance(Network(arch("resnet8"), 10, CONFIGS[kind]).state_dict(), alone["state"]) > 0.1
    for log in first["log"], second["log"]:
        for epoch, expected in zip(log, alone["log"], strict=True):
            assert epoch["accuracy"] == expected["accuracy"]
            assert epoch["loss"] == pytest.approx(expected["loss"], abs=2e-5)
    checkpoint = torch.load(tmp_path / "shared.pt", weights_only=True)
    assert distance(checkpoint["net"], first["state"]) == 0           # one of them wrote it


@pytest.mark.parametrize("kind", [kind if kind == "float" else pytest.param(kind, marks=pytest.mark.slow)
                                  for kind in CONFIGS])
def test_two_processes_in_bfloat16(tmp_path, kind):
    alone = trained_as_usual(kind, tmp_path / "alone.pt")
    first, second = two_processes(trained_as_usual, kind, tmp_path)
    assert distance(first["state"], second["state"]) < 1e-6
    for epoch, expected in zip(first["log"], alone["log"], strict=True):
        assert epoch["loss"] == pytest.approx(expected["loss"], rel=0.01)


def test_fused_kernels_share_the_statistics_of_a_batch(tmp_path):
    if not fused.available(torch.zeros(1, 16, 4, 4, dtype=torch.bfloat16)):
        pytest.skip("no C compiler")
    alone = fused_layer(None, None)
    first, second = two_processes(fused_layer, None, tmp_path)
    for whole, left, right in zip(alone, first, second, strict=True):
        if whole.dim() == 4:                                            # codes and gradients of pixels
            left = torch.cat([left, right])
        assert (left.float() - whole.float()).norm() <= 2e-3 * whole.float().norm()


def told_apart(kind, path):
    """What processes on machines that share no folder are told, one of which finds a checkpoint."""
    private_path = path.with_name(f"rank{rank()}-only.pt")
    if rank() == 1:
        net = Network(arch("resnet8"), 10)
        optimizer = torch.optim.SGD(train.parameter_groups(net, SCHEDULE))
        torch.save({"header": {}, "net": net.state_dict(), "optimizer": optimizer.state_dict(),
                    "log": [{"epoch": 1}]}, private_path)
    with pytest.raises(UserError, match="a folder that all of them share"):
        trained(kind, private_path)
    return True


def test_machines_that_share_no_folder_are_refused(tmp_path):
    assert two_processes(told_apart, "float", tmp_path) == [True, True]


@pytest.mark.parametrize("variables, ended", [(("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"), True),
                                              (("WORLD_SIZE",), False), ((), False)])
def test_one_of_several_ends_without_the_interpreters_shutdown(variables, ended):
    code = "import atexit; from model.training.distributed import leave; atexit.register(print, 'shutdown'); leave()"
    environment = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                            env=environment | dict.fromkeys(variables, "1"))
    assert result.stdout == ("" if ended else "shutdown\n")


def test_batches_that_cannot_be_shared_are_refused(monkeypatch):
    monkeypatch.setattr(train, "world_size", lambda: 3)
    with pytest.raises(UserError, match="3 processes cannot share batches of 32"):
        train.Trainer(Network(arch("resnet8"), 10), pictures(1, 64), SCHEDULE)
