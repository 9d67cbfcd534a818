"""Archives load like the folder they were made from, and damaged or hostile ones are refused."""

import io
import shutil
import stat
import tarfile
import zipfile

import numpy as np
import pytest
from pictures import picture, png

from rs_course import datasets


def make_tar(folder, target, mode="w"):
    with tarfile.open(target, mode) as archive:
        archive.add(folder, arcname=folder.name)
    return target


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.xz", "zip"])
def test_an_archive_equals_its_folder(described_folder, tmp_path, kind):
    target = tmp_path / f"set.{kind}"
    if kind == "zip":
        shutil.make_archive(tmp_path / "set", "zip", described_folder.parent, described_folder.name)
    else:
        make_tar(described_folder, target, {"tar": "w", "tar.gz": "w:gz", "tar.xz": "w:xz"}[kind])
    for split in ("train", "test"):
        folder, archive = (datasets.load(path, split) for path in (described_folder, target))
        assert np.array_equal(folder.images, archive.images)
        assert (folder.ids, folder.captions, folder.metadata) == (
            archive.ids,
            archive.captions,
            archive.metadata,
        )


def test_an_archive_is_known_by_its_content(described_folder, tmp_path, monkeypatch):
    first = make_tar(described_folder, tmp_path / "a.tar")
    expected = datasets.load(first).images.copy()
    renamed = shutil.copy(first, tmp_path / "b.tar")
    monkeypatch.setattr("rs_course.datasets.decoding.decode", None)  # the copy must not be decoded again
    assert np.array_equal(datasets.load(renamed).images, expected)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.7])
def test_a_truncated_archive_is_named(described_folder, tmp_path, kind, fraction):
    target = tmp_path / f"set.{kind}"
    if kind == "zip":
        shutil.make_archive(tmp_path / "set", "zip", described_folder.parent, described_folder.name)
    else:
        make_tar(described_folder, target, "w" if kind == "tar" else "w:gz")
    content = target.read_bytes()
    target.write_bytes(content[: int(fraction * len(content))])
    with pytest.raises(
        ValueError, match=rf"set\.{kind} is not a complete tar or zip archive.*again"
    ) as caught:
        _ = datasets.load(target).images
    assert "\n" not in str(caught.value)


def test_a_tar_that_stops_between_two_members_is_noticed(described_folder, tmp_path):
    target = make_tar(described_folder, tmp_path / "set.tar")
    with tarfile.open(target) as archive:
        middle = archive.getmembers()[10].offset
    target.write_bytes(target.read_bytes()[:middle])
    with pytest.raises(ValueError, match="stops before its end mark"):
        datasets.load(target)


@pytest.mark.parametrize(
    "content", [b"", b"hello, this is text", bytes(4096)], ids=["empty", "text", "zeros"]
)
def test_a_file_that_is_no_archive(tmp_path, content):
    (tmp_path / "notes.tar").write_bytes(content)
    with pytest.raises(ValueError, match=r"notes\.tar"):
        datasets.load(tmp_path / "notes.tar")


@pytest.mark.parametrize("name", ["../evil.png", "/tmp/evil.png", "Forest/../../evil.png", "C:\\evil.png"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_paths_that_leave_the_archive_are_refused(tmp_path, kind, name):
    target = tmp_path / f"evil.{kind}"
    data = png(picture(0))
    if kind == "tar":
        with tarfile.open(target, "w") as archive:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    else:
        with zipfile.ZipFile(target, "w") as archive:
            archive.writestr(name, data)
    with pytest.raises(ValueError, match="unsafe path"):
        datasets.load(target)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == [target.name]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        member = tarfile.TarInfo("Forest/a.png")
        member.type, member.linkname = kind, "/etc/passwd"
        archive.addfile(member)
    with pytest.raises(ValueError, match="link or a device"):
        datasets.load(tmp_path / "evil.tar")


def test_links_in_a_zip_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        member = zipfile.ZipInfo("Forest/a.png")
        member.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(member, "/etc/passwd")
    with pytest.raises(ValueError, match="link or a device"):
        datasets.load(tmp_path / "evil.zip")


SOUND = {
    "set.rar": (b"Rar!\x1a\x07\x01\x00" + bytes(600), "a RAR archive"),
    "set.zip": (b"7z\xbc\xaf'\x1c" + bytes(600), "a 7z archive"),
    "set.tar.zst": (b"\x28\xb5\x2f\xfd" + bytes(600), "compressed with zstd"),
    "set.z01": (b"PK\x07\x08" + bytes(600), "several parts"),
    "set.zip.001": (b"PK\x03\x04" + bytes(600), "several parts"),
    "set.7z.002": (b"\x17" * 600, "several parts"),
}


@pytest.mark.parametrize(("name", "made"), SOUND.items())
def test_archives_of_other_kinds_are_not_called_damaged(tmp_path, name, made):
    content, kind = made
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=kind) as caught:
        datasets.load(tmp_path / name)
    assert "unpack it" in str(caught.value) and "again" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [("compress_type", 9, "Deflate64"), ("compress_type", 93, "zstd"), ("flag_bits", 1, "encryption")],
)
def test_zips_with_a_method_that_python_lacks(described_folder, tmp_path, field, value, kind):
    """The method is written where the archive lists its members, as the programs with that method do."""
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(next(described_folder.rglob("*.png")), "River/a.png")
        setattr(archive.infolist()[0], field, value)
    with pytest.raises(ValueError, match=f"it uses .*{kind}.*unpack it") as caught:
        datasets.load(path)
    assert "again" not in str(caught.value)
