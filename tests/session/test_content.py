"""What a file holds: seen whole, remembered only as long as nobody wrote to it."""

from __future__ import annotations

import os
import shutil

import pytest

from iconface_video import files as content
from iconface_video.errors import InputError
from iconface_video.files import SteadyFile, hash_file


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A file that is large enough to be remembered, and written long ago; the reads are counted."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(content, "_REMEMBERED_BYTES", 1000)
    monkeypatch.setattr(content, "_SETTLED_NS", 0)
    path = tmp_path / "tape.ts"
    path.write_bytes(bytes(5000))
    os.utime(path, (1e9, 1e9))
    return path


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    read, names = content._read_through, []

    def counted(path):
        names.append(path.name)
        return read(path)

    monkeypatch.setattr(content, "_read_through", counted)
    return names


def test_every_byte_counts_and_nothing_else(tmp_path):
    path, copy = tmp_path / "clip.avi", tmp_path / "elsewhere.avi"
    data = bytearray(5 << 20)
    path.write_bytes(data)
    hashes = {hash_file(path)}
    for position in range(0, len(data), len(data) // 8):
        data[position] ^= 1
        path.write_bytes(data)
        os.utime(path, (1e9, 1e9))  # as an editor that sets the date back
        hashes.add(hash_file(path))
    assert len(hashes) == 9
    shutil.copy(path, copy)
    assert hash_file(copy) == hash_file(path)


def test_a_large_file_is_read_once_while_nobody_writes_to_it(large, reads, tmp_path):
    first = hash_file(large)
    assert hash_file(large) == first
    assert reads == ["tape.ts"]
    large.write_bytes(b"x" + bytes(4999))
    changed = hash_file(large)
    assert changed != first
    large.write_bytes(bytes(5000))
    os.utime(large, (1e9, 1e9))  # the first content, size and date: read again all the same, for its inode says otherwise
    assert hash_file(large) == first
    assert reads == ["tape.ts"] * 3
    moved = large.rename(tmp_path / "moved.ts")
    assert hash_file(moved) == first
    assert str(tmp_path) not in content._memory().read_text()  # no list of the user's films


def test_a_file_written_just_now_is_not_remembered(large, reads, monkeypatch):
    monkeypatch.setattr(content, "_SETTLED_NS", 10**12)
    assert hash_file(large) == hash_file(large)
    assert len(reads) == 2


@pytest.mark.parametrize("damage", ["", "[]", "null", "[" * 100_000, '{"a": 1}'])
def test_a_damaged_memory_is_no_obstacle(damage, large, reads):
    first = hash_file(large)
    content._memory().write_text(damage)
    assert hash_file(large) == first
    assert hash_file(large) == first
    assert len(reads) == 2


def test_without_a_cache_folder_all_works(large, reads, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert hash_file(large) == hash_file(large)
    assert len(reads) == 2


def test_only_the_latest_are_remembered(large, reads, tmp_path, monkeypatch):
    monkeypatch.setattr(content, "_MOST_REMEMBERED", 2)
    names = [large, *(tmp_path / f"{number}.ts" for number in range(2))]
    for path in names:
        path.write_bytes(bytes(5000))
        hash_file(path)
    del reads[:]
    for path in reversed(names):
        hash_file(path)
    assert reads == ["tape.ts"]


def test_written_to_while_it_is_hashed(large, monkeypatch):
    read = content._read_through

    def growing(path):
        found = read(path)
        with open(path, "ab") as file:
            file.write(bytes(7))
        return found

    monkeypatch.setattr(content, "_read_through", growing)
    with pytest.raises(
        InputError, match=r"changed while it was being read \(it was written to; its size went from 5,000 to 5,007"
    ):
        hash_file(large)
    assert content._remembered() == {}


def test_a_steady_file(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    file = SteadyFile(path)
    known = file.identity()
    (tmp_path / "copy.mp4").write_bytes(b"one")
    os.utime(path, (5, 5))
    file.check()
    os.replace(tmp_path / "copy.mp4", path)  # the same content: moved away and put back
    file.check()
    assert file.identity() == known
    path.write_bytes(b"two")
    with pytest.raises(InputError, match=r"a\.mp4: changed while it was being read \(it was written to\)"):
        file.check()
    path.write_bytes(b"one")
    file.check()
    (tmp_path / "other.mp4").write_bytes(b"others")
    os.replace(tmp_path / "other.mp4", path)
    with pytest.raises(InputError, match="another file was put in its place; its size went from 3 to 6 bytes"):
        file.check()
    path.unlink()
    with pytest.raises(InputError, match="was moved or deleted while it was being read"):
        file.check()


def test_a_file_that_changes_before_it_is_known(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    file = SteadyFile(path)
    path.write_bytes(b"three")
    with pytest.raises(InputError, match="changed while"):
        file.identity()
