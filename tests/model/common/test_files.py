"""Files are written whole or not at all, whatever goes wrong."""
import os
import shutil
import zipfile
from types import SimpleNamespace

import pytest

from model.common.errors import UserError
from model.common.files import refuse_cut_off, refuse_full_disk, refuse_unwritable, replacing, write_text


def test_a_file_appears_when_it_is_whole(tmp_path):
    path = tmp_path / "net.npz"
    with replacing(path) as file:
        file.write(b"half")
        assert not path.exists()
        file.write(b" and half")
    assert path.read_bytes() == b"half and half"
    write_text(path, "µ")
    assert path.read_text(encoding="utf-8") == "µ"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    for name in "old", "new":
        (tmp_path / name).symlink_to(tmp_path / "there" / name)
    (tmp_path / "there" / "old").write_text("before")
    for name in "old", "new":
        refuse_unwritable(tmp_path / name)
        write_text(tmp_path / name, "after")
        assert (tmp_path / name).is_symlink() and (tmp_path / "there" / name).read_text() == "after"
    assert len(list(tmp_path.iterdir())) == 3 and len(list((tmp_path / "there").iterdir())) == 2


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        refuse_unwritable(path)
        write_text(path, "text")
        assert os.read(reader, 100) == b"text" and path.is_fifo()
    finally:
        os.close(reader)


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "net.npz"
    path.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    with pytest.raises(UserError, match="cannot write .*net.npz: No space left on device"), replacing(path):
        raise OSError(28, "No space left on device")
    assert path.read_bytes() == b"before" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name, reason", [("missing/net", "No such file or directory"), ("file/net", "Not a directory"),
                                          ("folder", "Is a directory")])
def test_paths_that_cannot_be_written(tmp_path, name, reason):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=f"cannot write .*{name}: {reason}"):
        write_text(tmp_path / name, "text")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_an_archive_without_its_end_is_told_from_what_is_none(tmp_path):
    path = tmp_path / "net.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights", bytes(5000))
    content = path.read_bytes()
    refuse_cut_off(path)
    for length in (1, 4, 2500, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(UserError) as error:
            refuse_cut_off(path)
        assert str(error.value) == f"{path}: cut off after {length:,} bytes, its end is missing: copy or make it again"
    path.write_bytes(b"")
    with pytest.raises(UserError) as error:
        refuse_cut_off(path)
    assert str(error.value) == f"{path}: an empty file"
    path.write_bytes(b"something else")
    refuse_cut_off(path)
    with pytest.raises(FileNotFoundError):
        refuse_cut_off(tmp_path / "missing")


@pytest.mark.parametrize("free, full", [(0, True), (999_999, True), (1_000_000, False), (10**12, False)])
def test_a_full_disk_is_refused(tmp_path, monkeypatch, free, full):
    asked = []
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: asked.append(folder) or SimpleNamespace(free=free))
    if full:
        with pytest.raises(UserError, match=f"^{tmp_path}: the disk is full$"):
            refuse_full_disk(tmp_path)
    else:
        refuse_full_disk(tmp_path)
    assert asked == [tmp_path]
