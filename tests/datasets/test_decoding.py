"""Every kind of image that a folder, an archive or a call may hold: read rightly, or its kind is said."""

import io

import numpy as np
import pytest
from pictures import deep_png, picture, tiff
from PIL import Image

from rs_course import datasets
from rs_course.checkpoints.images import images, pixels
from rs_course.datasets.decoding import decode, image_size


def encoded(image, kind, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["L", "LA", "P", "1", "CMYK", "RGBA"])
def test_eight_bit_modes_become_rgb_as_pillow_converts_them(mode):
    image = Image.fromarray(picture(0)).convert(mode)
    kind = "TIFF" if mode == "CMYK" else "PNG"
    assert (decode(encoded(image, kind), "a") == np.asarray(image.convert("RGB"))).all()


@pytest.mark.parametrize("layout", [{}, {"big": True}, {"tiled": True}])
def test_tiff_layouts(layout):
    data = tiff(bits=8, **layout)
    assert image_size(data, "a.tif") == (16, 16) and (decode(data, "a.tif") == 44).all()


DEEP = {
    "16-bit RGB PNG": deep_png(3),
    "16-bit RGBA PNG": deep_png(4),
    "16-bit grey and alpha PNG": deep_png(2),
    "16-bit grey PNG": deep_png(1),
    "16-bit RGB TIFF": tiff(3),
    "16-bit RGB BigTIFF": tiff(3, big=True),
    "16-bit RGB tiled TIFF": tiff(3, tiled=True),
    "16-bit grey TIFF": tiff(1),
    "16-bit TIFF with near infrared": tiff(4),
    "13 bands of 16 bits": tiff(13),
    "13 bands of 8 bits": tiff(13, bits=8),
    "two floats": tiff(2, bits=32, sample_format=3),
    "float RGB TIFF": tiff(3, bits=32, sample_format=3),
    "signed grey TIFF": tiff(1, sample_format=2),
}


@pytest.mark.parametrize("data", DEEP.values(), ids=DEEP)
def test_more_than_eight_bits_or_four_bands_is_said_and_not_stretched(tmp_path, data):
    suffix = "png" if data[:1] == b"\x89" else "tif"
    (tmp_path / "set" / "A").mkdir(parents=True)
    file = tmp_path / "set" / "A" / f"1.{suffix}"
    file.write_bytes(data)
    doors = [
        lambda: image_size(data, "1"),
        lambda: decode(data, "1"),
        lambda: datasets.load(tmp_path / "set"),
    ]
    for door in doors:
        with pytest.raises(ValueError, match=r"stretch (it|them) to 0..255 and save") as caught:
            door()
        assert "\n" not in str(caught.value) and "replace or remove" not in str(caught.value)
    if "bands" in str(caught.value):
        assert "13 bands" in str(caught.value)
        return
    try:
        opened, loaded = Image.open(file), Image.open(file)
        loaded.load()
    except OSError:  # Pillow itself has no such image
        return
    for image in (opened, loaded):  # a loaded image has forgotten its raw mode
        for mode in ("RGB", "L", None):
            with pytest.raises(ValueError, match="stretch it"):
                images(image, mode=mode)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_obeyed_at_every_door(tmp_path, kind, orientation):
    shown = np.zeros((16, 24, 3), np.uint8)
    shown[:8, :12] = 255  # bright at the top left, when upright
    back = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[
        orientation
    ]  # Pillow's transpose that undoes it
    stored = Image.fromarray(shown)
    stored = stored if back is None else stored.transpose(Image.Transpose(back))
    tag = Image.Exif()
    tag[0x0112] = orientation
    options = {"quality": 100} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    data = encoded(stored, kind, exif=tag, **options)
    assert image_size(data, "a") == (16, 24)
    assert np.abs(decode(data, "a").astype(int) - shown).max() < 30
    (tmp_path / "set" / "A").mkdir(parents=True)
    (tmp_path / "set" / "A" / f"1.{kind.lower().replace('tiff', 'tif')}").write_bytes(data)
    assert datasets.load(tmp_path / "set", "all").images.shape == (1, 16, 24, 3)
    for mode in ("RGB", "L"):  # image=, conditions= and mask= of a generator
        given = images(Image.open(io.BytesIO(data)), mode=mode)
        assert given.shape[-2:] == (16, 24) and given[0, 0, 0, 0] > 0.9 and given[0, 0, -1, -1] < 0.1


def test_damaged_exif_does_not_spoil_a_picture():
    data = encoded(Image.fromarray(picture(0)), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert (decode(data, "a") == picture(0)).all() and image_size(data, "a") == (16, 16)


def test_several_pictures_in_a_file_are_refused_but_smaller_copies_are_not(tmp_path):
    pages = [Image.fromarray(picture(k)) for k in range(3)]
    for kind in ("TIFF", "WEBP", "PNG"):
        data = encoded(pages[0], kind, save_all=True, append_images=pages[1:])
        with pytest.raises(ValueError, match="holds 3 pictures"):
            decode(data, "a")
        with pytest.raises(ValueError, match="holds 3 pictures"):
            images(Image.open(io.BytesIO(data)))
    tifffile = pytest.importorskip("tifffile")

    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(picture(0), photometric="rgb", subfiletype=0)
        file.write(picture(0)[::2, ::2].copy(), photometric="rgb", subfiletype=1)
    assert (decode((tmp_path / "a.tif").read_bytes(), "a") == picture(0)).all()


def test_nan_is_no_colour():
    import torch

    with pytest.raises(ValueError, match="NaN"):
        pixels(torch.full((1, 3, 4, 4), float("nan")))
