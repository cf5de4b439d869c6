"""A client in C, written from docs/uart.md alone, against the whole simulated board: the page is complete and true.

The client (`client/client.c`) says a line for each sentence of the page that it tried out. It knows nothing of this
project but the page: this file gives it nets as `compile` writes them, pictures, and the integer model's logits.
"""
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from accel.__main__ import main as accel_main
from accel.config import TINY, TINY_SDRAM
from model.common.tools import find_c_compiler
from model.integer import golden, store
from tests.nets import corner_pictures, random_net, random_pictures

pytestmark = [pytest.mark.nightly, pytest.mark.cxx]

SOURCE = Path(__file__).parent / "client" / "client.c"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The client, and of two nets the net, the image, and pictures with their logits."""
    folder = tmp_path_factory.mktemp("client")
    compiler = find_c_compiler() or pytest.skip("no C compiler: install gcc or clang, or set CC")
    subprocess.run([*compiler, "-std=c11", "-O1", "-Wall", "-Wextra", "-pedantic", "-Werror", "-o", folder / "client",
                    SOURCE], check=True)
    for seed in (0, 1):
        net = random_net(seed, TINY)
        store.save(net, folder / f"net{seed}.npz")
        for name, config in ("image", TINY), ("played", TINY_SDRAM):
            assert accel_main(["compile", str(folder / f"net{seed}.npz"), "--config", config.name, "--batch", "1",
                               "-o", str(folder / f"{name}{seed}")]) == 0
        pictures = np.concatenate([corner_pictures(net), random_pictures(net, 6, seed)])
        pixels = pictures.transpose(0, 2, 3, 1).reshape(len(pictures), -1)
        logits = golden.forward(net, pictures).astype("<i4").view(np.uint8)
        (folder / f"answers{seed}").write_bytes(
            len(pictures).to_bytes(4, "little") + np.concatenate([pixels, logits], axis=1).tobytes())
    return folder


@contextlib.contextmanager
def simulated_board(folder, core_ratio, config):
    """The board behind folder/port, with the net of seed 0 if its memories hold it. core_ratio: cycles of the core a
    cycle of the host side."""
    net = "none" if config.sdram_hz else folder / "net0.npz"
    with subprocess.Popen(
            [sys.executable, "-m", "sim", "serve", net, "--config", config.name, "--core-ratio", core_ratio,
             "--port-link", folder / "port"], cwd=ROOT, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"}) as board:
        try:
            while "simulated board" not in (line := board.stdout.readline()):
                assert line, "the simulated board ended"
            yield folder / "port"
        finally:
            board.send_signal(signal.SIGTERM)


def said(folder, core_ratio, seeds, config=TINY):
    """Lines of the client."""
    image = "played" if config.sdram_hz else "image"
    files = [folder / f"{kind}{seed}" for seed in seeds for kind in (image, "answers")]
    with simulated_board(folder, core_ratio, config) as port:
        result = subprocess.run([folder / "client", port, *files], stdout=subprocess.PIPE, text=True)
    lines = result.stdout.splitlines()
    wrong = [line for line in lines if not line.startswith(("ok", "   "))]
    assert (wrong, result.returncode, lines[-1]) == ([], 0, "ok: 0 wrong"), "\n".join(lines[-5:])
    return lines


def test_the_page_is_complete_and_true(folder):
    """With a core so slow that a RESET comes while a picture is being classified."""
    lines = said(folder, "0.25", (0, 1))
    assert any("RESET behind two INFER" in line and "before answers: 1" in line for line in lines)
    assert any("frames answered" in line and not line.endswith(" 0 dropped") for line in lines)


def test_the_page_is_true_of_a_core_that_hardly_runs(folder):
    """Each command that needs the core is answered by STALLED."""
    said(folder, "0.001", (0,))


def test_the_page_is_true_of_nets_that_are_played_from_sdram(folder):
    """And of a test of that memory."""
    said(folder, "8", (0,), TINY_SDRAM)
