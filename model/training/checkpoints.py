"""Checkpoints, 01_float.pt and 02_qat.pt: what a header says, and reading them."""
import hashlib
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from model.common.errors import UserError
from model.common.files import refuse_cut_off
from model.common.nearest import similar_file
from model.nets.specs import arch
from model.zoo import FOLDER

from .distributed import world_size
from .network import Network, QuantConfig
from .train import Schedule

__all__ = ["load_checkpoint", "refuse_other", "refuse_unfinished", "weights_digest", "provenance", "PARENTS"]

PARENTS = FOLDER / "parents"               # float nets that ship, ARCH-DATASET.pt


def load_checkpoint(path):
    """(Network, header) of a 01_float.pt or 02_qat.pt; the header has the training log as `log`. UserError where the
    file is missing, cut off, or something else."""
    try:
        refuse_cut_off(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
        header = state["header"]
        config = None
        if header["stage"] == "quantized":      # nets older than `first_bits` have the same in every layer
            config = QuantConfig(**{"first_bits": header["quant"]["w_bits"]} | header["quant"])
            header["quant"] = asdict(config)
        net = Network(arch(header["arch"]), len(header["classes"]), config)
        net.load_state_dict(state["net"])
        for key in header.keys() & {"schedule", "float_schedule"}:      # older ones lack later fields, as quant may
            header[key] = asdict(Schedule(**header[key]))
        return net.eval(), {**header, "log": state["log"]}
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}{similar_file(path)}") from None
    except Exception:                       # whatever torch and pickle make of a foreign file
        raise UserError(f"{path}: not a checkpoint of this program, or a damaged one; python -m model train writes "
                        "01_float.pt and 02_qat.pt") from None


def refuse_other(path, **asked):
    """Refuses to resume a checkpoint that another recipe made: which part of it differs, the value there, the one
    asked for."""
    if path.exists():
        header = load_checkpoint(path)[1]
        for key, value in asked.items():
            found, field = header.get(key), key
            if isinstance(found, dict):
                field = next((name for name in value if found.get(name) != value[name]), key)
                found, value = found.get(field), value.get(field)
            if found != value:
                part = key if field == key else f"{key}, {field},"
                raise UserError(f"{path}: its {part} is {str(found)[:20]}, not {str(value)[:20]} as asked for; "
                                "give another --runs folder")


def refuse_unfinished(path, header):
    """Refuses the checkpoint of that header, as `load_checkpoint` gives it, if training has epochs to go."""
    done, epochs = len(header["log"]), header["schedule"]["epochs"]
    if done < epochs:
        raise UserError(f"{path}: its training is not finished: {done} of {epochs} epochs")


def weights_digest(net):
    """SHA-256 of a net's parameters and statistics, hex."""
    state = hashlib.sha256()
    for name, value in net.state_dict().items():
        state.update(name.encode() + value.contiguous().numpy().tobytes())
    return state.hexdigest()


def provenance(device):
    """What a run is made with: commit ("-dirty" after it where files differ), tools, device, processes of
    all nodes."""
    try:
        commit = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
                                cwd=Path(__file__).parent, capture_output=True, text=True).stdout.strip()
    except OSError:                             # no git
        commit = ""
    return {"commit": commit or "unknown", "torch": str(torch.__version__), "numpy": np.__version__,
            "python": sys.version.split()[0], "device": device, "processes": world_size(),
            "nodes": world_size() // int(os.environ.get("LOCAL_WORLD_SIZE", world_size()))}
