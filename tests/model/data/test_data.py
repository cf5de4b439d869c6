"""The official formats, written here in small; bad files; the cache; picture files."""
import errno
import hashlib
import http.client
import io
import os
import pickle
import re
import shutil
import tarfile
import tempfile
import urllib.request

import numpy as np
import pytest

from model.common.errors import UserError
from model.data import cifar, datasets, download

NAMES = [f"class{index}" for index in range(10)]
COUNT = 10_000


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (COUNT, 3072), dtype=np.uint8), rng.integers(0, 10, COUNT)


@pytest.fixture
def no_data(monkeypatch, tmp_path):
    """No CIFAR_DIR, an empty cache and no network."""
    monkeypatch.delenv("CIFAR_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "URL", (tmp_path / "server").as_uri() + "/")
    (tmp_path / "server").mkdir()


def write_binary(folder, pixels, labels):
    folder.mkdir(exist_ok=True)
    records = np.concatenate([labels[:, None].astype(np.uint8), pixels], axis=1)
    (folder / "test_batch.bin").write_bytes(records.tobytes())
    (folder / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")


def write_python(folder, pixels, labels, protocol=2):
    folder.mkdir(exist_ok=True)
    batch = {b"data": pixels, b"labels": labels.tolist(), b"batch_label": b"testing batch 1 of 1"}
    (folder / "test_batch").write_bytes(pickle.dumps(batch, protocol))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [n.encode() for n in NAMES]}, protocol))


def check(dataset, pixels, labels):
    assert dataset.classes == tuple(NAMES)
    assert dataset.pictures.shape == (COUNT, 3, 32, 32) and dataset.pictures.dtype == np.uint8
    np.testing.assert_array_equal(dataset.pictures.reshape(COUNT, -1), pixels)
    np.testing.assert_array_equal(dataset.labels, labels)
    assert dataset.labels.dtype == np.int64


@pytest.mark.parametrize("folder", ["cifar-10-batches-bin", "."])
def test_binary_version(tmp_path, batch, folder):
    write_binary(tmp_path / folder, *batch)
    check(datasets.load("cifar10", "test", tmp_path), *batch)


def test_python_version(tmp_path, batch):
    write_python(tmp_path / "cifar-10-batches-py", *batch)
    check(datasets.load("cifar10", "test", tmp_path), *batch)


def make_official(monkeypatch, archive):
    """Makes the binary version's checksum that of the file `archive`."""
    version = cifar.VERSIONS["cifar10"][0]
    official = cifar.Version(**{**vars(version), "md5": hashlib.md5(archive.read_bytes()).hexdigest()})
    monkeypatch.setitem(cifar.VERSIONS, "cifar10", (official,))


def test_archive(tmp_path, batch, monkeypatch):
    write_binary(tmp_path / "cifar-10-batches-bin", *batch)
    archive = tmp_path / "cifar-10-binary.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(tmp_path / "cifar-10-batches-bin", "cifar-10-batches-bin")
    for path in (tmp_path / "cifar-10-batches-bin").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="not the official archive"):
        datasets.load("cifar10", "test", tmp_path)
    make_official(monkeypatch, archive)
    check(datasets.load("cifar10", "test", tmp_path), *batch)
    check(datasets.load("cifar10", "test", archive), *batch)
    check(datasets.load("cifar10", "test", shutil.copy(archive, tmp_path / "download (1)")), *batch)
    with pytest.raises(UserError, match="data_batch_1.bin: missing"):
        datasets.load("cifar10", "train", tmp_path)
    content = archive.read_bytes()
    middle = len(content) // 2
    for damaged in content[:middle], content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1:]:
        archive.write_bytes(damaged)
        with pytest.raises(UserError, match="damaged"):
            datasets.load("cifar10", "test", tmp_path)


def test_cifar100_fine_labels(tmp_path, batch):
    pixels, _ = batch
    fine = np.arange(COUNT) % 100
    folder = tmp_path / "cifar-100-binary"
    folder.mkdir()
    records = np.concatenate([fine[:, None] // 5, fine[:, None], pixels], axis=1).astype(np.uint8)
    (folder / "test.bin").write_bytes(records.tobytes())
    (folder / "fine_label_names.txt").write_text("\n".join(f"c{i}" for i in range(100)))
    dataset = datasets.load("cifar100", "test", tmp_path)
    np.testing.assert_array_equal(dataset.labels, fine)
    np.testing.assert_array_equal(dataset.pictures.reshape(COUNT, -1), pixels)
    assert len(dataset.classes) == 100


def test_wrong_and_short_files_are_refused_by_name(tmp_path, batch):
    pixels, labels = batch
    write_binary(tmp_path, pixels[:-1], labels[:-1])
    with pytest.raises(UserError, match="test_batch.bin: 30726927 bytes, not 30730000"):
        datasets.load("cifar10", "test", tmp_path)
    with pytest.raises(UserError, match="data_batch_1.bin: No such file"):
        datasets.load("cifar10", "train", tmp_path)
    write_binary(tmp_path, pixels, labels + 5)
    with pytest.raises(UserError, match="labels 5 .. 14 for 10 classes"):
        datasets.load("cifar10", "test", tmp_path)
    python = tmp_path / "python"
    write_python(python, pixels[:100], labels[:100])
    with pytest.raises(UserError, match="test_batch: no 10000 pictures"):
        datasets.load("cifar10", "test", python)


class Malicious:
    """Makes a file when it is unpickled."""
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pickles_run_nothing(tmp_path, batch):
    write_python(tmp_path, *batch)
    trap = tmp_path / "sprung"
    for content, reason in ((pickle.dumps(Malicious(str(trap))), "it asks for posix.mkdir"),
                            (pickle.dumps([1]), "no dictionary"), (b"not a pickle", ""), (b"", "")):
        (tmp_path / "test_batch").write_bytes(content)
        with pytest.raises(UserError, match=f"test_batch: not an official CIFAR pickle.*{reason}"):
            datasets.load("cifar10", "test", tmp_path)
    assert not trap.exists()


WANTED = ("wanted: the official archive, or a folder with it or what is in it: "
          "cifar-10-binary.tar.gz (cifar-10-batches-bin/), cifar-10-python.tar.gz (cifar-10-batches-py/)")


@pytest.mark.parametrize("name, reason", [
    ("nowhere", "no such file or folder"), ("empty", "no cifar10 there"), ("notes.txt", "no archive of cifar10"),
    ("hundred", "that is cifar100, not cifar10"), ("hundred/cifar-100-python.tar.gz", "that is cifar100, not cifar10")])
def test_what_has_no_data_is_refused_not_downloaded(tmp_path, no_data, monkeypatch, name, reason):
    for folder in ("empty", "hundred"):
        (tmp_path / folder).mkdir()
    for file in ("notes.txt", "hundred/cifar-100-python.tar.gz"):
        (tmp_path / file).touch()
    path = tmp_path / name
    with pytest.raises(UserError) as error:
        datasets.load("cifar10", "test", path)
    assert str(error.value) == f"--data {path}: {reason}; {WANTED}"
    monkeypatch.setenv("CIFAR_DIR", str(path))
    with pytest.raises(UserError) as error:
        datasets.load("cifar10", "test")
    assert str(error.value) == f"CIFAR_DIR={path}: {reason}; {WANTED}"


def test_a_misspelt_data_folder_is_told_the_nearest(tmp_path, no_data):
    (tmp_path / "pictures").mkdir()
    with pytest.raises(UserError) as error:
        datasets.load("cifar10", "test", tmp_path / "pitcures")
    assert str(error.value) == (f"--data {tmp_path / 'pitcures'}: no such file or folder; {WANTED}; "
                                f"did you mean {tmp_path / 'pictures'}?")


@pytest.mark.parametrize("dataset", ["cifar10", "synthetic"])
def test_an_empty_name_is_refused_but_an_empty_variable_is_unset(tmp_path, no_data, monkeypatch, dataset):
    monkeypatch.setenv("CIFAR_DIR", str(tmp_path))
    with pytest.raises(UserError) as error:
        datasets.load(dataset, "test", "")
    assert str(error.value) == ("--data: an empty name, as an unset variable of a shell gives: name a folder, or leave "
                                "--data out")
    monkeypatch.setenv("CIFAR_DIR", "")
    if dataset == "cifar10":
        assert "download failed" in download_refusal()          # as without the variable


def test_unknown_data_set():
    with pytest.raises(UserError, match="'mnist'.*cifar10"):
        datasets.load("mnist", "test")
    with pytest.raises(UserError, match="'synthetics'; known: .*; did you mean synthetic[?]"):
        datasets.load("synthetics", "test")


def test_download_is_checked_and_cached(tmp_path, no_data, batch, monkeypatch, capsys):
    write_binary(tmp_path / "cifar-10-batches-bin", *batch)
    served = tmp_path / "server" / "cifar-10-binary.tar.gz"
    with tarfile.open(served, "w:gz", compresslevel=1) as tar:
        tar.add(tmp_path / "cifar-10-batches-bin", "cifar-10-batches-bin")
    with pytest.raises(UserError, match="wrong checksum"):
        datasets.load("cifar10", "test", progress=False)
    assert not any((tmp_path / "cache" / "uniqore").iterdir())

    make_official(monkeypatch, served)
    check(datasets.load("cifar10", "test"), *batch)
    assert "cifar-10-binary.tar.gz" in capsys.readouterr().err
    served.unlink()
    check(datasets.load("cifar10", "test"), *batch)


def download_refusal():
    with pytest.raises(UserError) as error:
        datasets.load("cifar10", "test", progress=False)
    return str(error.value)


def test_no_network_says_what_to_do(no_data):
    assert re.fullmatch(r"file://.*/server/cifar-10-binary.tar.gz: download failed \(.*\); "
                        "give a folder with --data or CIFAR_DIR", download_refusal())


class Answer(io.BytesIO):
    """A server's, cut off after a piece where `error` is given."""
    def __init__(self, error=None):
        super().__init__(b"a piece")
        self.headers, self._error = {}, error

    def read(self, size):
        piece = super().read(size)
        if not piece and self._error:
            raise self._error
        return piece


@pytest.mark.parametrize("error, reason", [
    (TimeoutError("timed out"), "timed out"), (http.client.IncompleteRead(b"", 10), "IncompleteRead"),
    (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "Connection reset by peer")])
def test_a_network_that_breaks_off_is_told_as_such(tmp_path, no_data, monkeypatch, error, reason):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Answer(error))
    said = download_refusal()
    assert f"cifar-10-binary.tar.gz: download failed ({reason}" in said and "cache folder" not in said
    assert not list((tmp_path / "cache" / "uniqore").iterdir())


FOLDER_ADVICE = "name another with XDG_CACHE_HOME, or give a folder of the data with --data or CIFAR_DIR"


@pytest.mark.parametrize("number, reason", [
    (errno.EACCES, "Permission denied"), (errno.EROFS, "Read-only file system")])
def test_a_cache_without_permission_is_not_blamed_on_the_network(tmp_path, no_data, monkeypatch, number, reason):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number), "somewhere")         # root would be let in
    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    monkeypatch.setattr(urllib.request, "urlopen", pytest.fail)
    folder = tmp_path / "cache" / "uniqore"
    assert download_refusal() == (
        f"cannot keep cifar-10-binary.tar.gz in the cache folder {folder} ({reason}): {FOLDER_ADVICE}")


def test_a_cache_that_cannot_be_made_is_not_blamed_on_the_network(tmp_path, no_data):
    (tmp_path / "cache").touch()
    assert download_refusal() == (f"cannot keep cifar-10-binary.tar.gz in the cache folder {tmp_path}/cache/uniqore "
                                  f"(Not a directory): {FOLDER_ADVICE}")


def test_a_full_disk_is_not_blamed_on_the_network(tmp_path, no_data, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Answer())
    opened = open

    def full(path, *arguments):
        return opened("/dev/full" if str(path).endswith(".tar.gz") else path, *arguments)
    monkeypatch.setattr(download, "open", full, raising=False)
    folder = tmp_path / "cache" / "uniqore"
    assert download_refusal() == (f"cannot keep cifar-10-binary.tar.gz in the cache folder {folder} "
                                  f"(No space left on device): {FOLDER_ADVICE}")
    assert not list(folder.iterdir())


@pytest.mark.skipif("CIFAR_DIR" not in os.environ, reason="needs CIFAR_DIR")
def test_the_real_test_set():
    dataset = datasets.load("cifar10", "test")
    assert dataset.classes[0] == "airplane" and dataset.labels[:5].tolist() == [3, 8, 8, 0, 6]
    assert np.bincount(dataset.labels).tolist() == [1000] * 10
