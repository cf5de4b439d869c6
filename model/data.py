from dataclasses import dataclass
import os
from pathlib import Path
import numpy as np
@dataclass
class Dataset:
    name: str
    split: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple
def load(dataset, split, data=None, progress=True):
    d = Path(data or os.environ["CIFAR_DIR"]) / "cifar-10-batches-bin"
    names = ["test_batch.bin"] if split == "test" else [f"data_batch_{i}.bin" for i in range(1, 6)]
    raw = np.concatenate([np.fromfile(d / n, np.uint8) for n in names]).reshape(-1, 3073)
    return Dataset(dataset, split, raw[:, 1:].reshape(-1, 3, 32, 32).copy(), raw[:, 0].astype(np.int64), tuple((d / "batches.meta.txt").read_text().split()))
