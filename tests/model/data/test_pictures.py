"""Picture files as pixels of a net: the right values from every mode, at the net's own size."""
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from model.common.errors import UserError
from model.data.pictures import is_picture, load_pictures

COLOUR = (3, 32, 32)


def load(path, shape=COLOUR):
    """The one picture, uint8 (C, H, W)."""
    return load_pictures([path], shape)[0]


def png_of_16_bits(kind, pixels, transparent=None):
    """A PNG of colour type `kind` of uint16 pixels (H, W, channels); transparent: samples of one colour."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    key = b"" if transparent is None else chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)) + key
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def test_pictures(tmp_path):
    rng = np.random.default_rng(0)
    exact = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(exact).save(tmp_path / "exact.png")
    Image.new("L", (100, 60), 77).save(tmp_path / "grey.png")
    Image.new("RGBA", (1, 1), (1, 2, 3, 255)).save(tmp_path / "dot.png")
    pictures = load_pictures([tmp_path / name for name in ("exact.png", "grey.png", "dot.png")], COLOUR)
    assert pictures.shape == (3, 3, 32, 32) and pictures.dtype == np.uint8
    np.testing.assert_array_equal(pictures[0], exact.transpose(2, 0, 1))
    assert (pictures[1] == 77).all()
    assert (pictures[2] == np.array([1, 2, 3])[:, None, None]).all()
    assert load_pictures([], (1, 4, 5)).shape == (0, 1, 4, 5)


def test_the_net_says_the_size(tmp_path):
    """8 x 4 pixels from 16 x 16: the middle half, of which each pixel is that of 2 x 2 equal ones."""
    rows = np.repeat(np.arange(8, dtype=np.uint8) * 30, 2)
    Image.fromarray(np.repeat(rows[:, None], 16, 1)).save(tmp_path / "rows.png")
    picture = load(tmp_path / "rows.png", (3, 4, 8))
    assert picture.shape == (3, 4, 8) and (picture == picture[0, :, :1]).all()
    assert picture[0, :, 0] == pytest.approx([60, 90, 120, 150], abs=4)
    exact = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(exact).save(tmp_path / "exact.png")
    np.testing.assert_array_equal(load(tmp_path / "exact.png", (3, 5, 7)), exact.transpose(2, 0, 1))


def test_a_grey_net_gets_the_luminance(tmp_path):
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
    Image.fromarray(grey).save(tmp_path / "grey.png")
    np.testing.assert_array_equal(load(tmp_path / "grey.png", (1, 4, 6)), grey[None])
    Image.new("RGB", (6, 4), (200, 100, 50)).save(tmp_path / "colour.png")
    assert (load(tmp_path / "colour.png", (1, 4, 6)) == 124).all()      # 0.299 R + 0.587 G + 0.114 B
    Image.new("LA", (6, 4), (200, 0)).save(tmp_path / "clear.png")
    assert (load(tmp_path / "clear.png", (1, 4, 6)) == 255).all()
    with pytest.raises(UserError, match="picture files give 1 or 3 channels, the net takes 4"):
        load(tmp_path / "grey.png", (4, 4, 6))


SIXTEEN = np.array([[0, 128, 129, 257, 0x80FF, 0xFF7F, 0xFFFE, 0xFFFF]], np.uint16)
EIGHT = [0, 0, 1, 1, 128, 255, 255, 255]                # the nearest of 257 k; 128 is 0.498 of a step


@pytest.mark.parametrize("name", ["grey.png", "grey.tif", "grey.pgm"])
def test_16_bit_grey_is_scaled(tmp_path, name):
    Image.fromarray(SIXTEEN).save(tmp_path / name)
    assert load(tmp_path / name, (3, 1, 8))[:, 0].tolist() == [EIGHT] * 3


def test_12_bit_grey_is_scaled_from_its_own_white(tmp_path):
    (tmp_path / "grey.pgm").write_bytes(b"P5 3 1 4095\n" + np.array([0, 2048, 4095], ">u2").tobytes())
    assert load(tmp_path / "grey.pgm", (1, 1, 3)).tolist() == [[[0, 128, 255]]]


def test_16_bit_colours_keep_their_upper_byte(tmp_path):
    pixels = np.array([[[0x12FF, 0x80FF, 0xFFFF]]])
    (tmp_path / "colour.png").write_bytes(png_of_16_bits(2, pixels))
    assert load(tmp_path / "colour.png", (3, 1, 1)).ravel().tolist() == [0x12, 0x80, 0xFF]


@pytest.mark.parametrize("kind, pixels, transparent, seen", [
    (0, [[[0x1234], [0x8000]]], [0x1234], [255, 128]),                          # grey with a transparent value
    (4, [[[0x2000, 0], [0x2000, 0xFFFF]]], None, [255, 0x20]),                  # grey and alpha
    (2, [[[0x2000] * 3, [0x4000] * 3]], [0x2000] * 3, [255, 0x40]),             # colours with a transparent one
])
def test_16_bit_transparency_is_white(tmp_path, kind, pixels, transparent, seen):
    (tmp_path / "x.png").write_bytes(png_of_16_bits(kind, np.array(pixels), transparent))
    assert load(tmp_path / "x.png", (3, 1, 2))[:, 0].tolist() == [seen] * 3


def palette(mode_of_transparency):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putdata([0, 1])
    image.info["transparency"] = mode_of_transparency
    return image


def red_and_clear():
    image = Image.new("RGBA", (2, 1), (10, 20, 30, 0))
    image.putpixel((1, 0), (40, 50, 60, 255))
    return image


@pytest.mark.parametrize("image, name", [
    (red_and_clear(), "x.png"), (red_and_clear(), "x.webp"), (palette(0), "x.gif"), (palette(0), "x.png"),
    (palette(b"\x00\xff"), "x.png")])
def test_transparent_pixels_are_white(tmp_path, image, name):
    image.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
    with warnings.catch_warnings(action="error"):
        assert load(tmp_path / name, (3, 1, 2))[:, 0].T.tolist() == [[255, 255, 255], [40, 50, 60]]


def test_half_transparent_pixels_are_mixed_with_white(tmp_path):
    Image.new("RGBA", (2, 2), (0, 100, 255, 51)).save(tmp_path / "x.png")           # a fifth
    assert load(tmp_path / "x.png", (3, 2, 2))[:, 0, 0].tolist() == [204, 224, 255]


def test_other_modes_are_converted(tmp_path):
    Image.new("CMYK", (2, 2), (255, 0, 0, 0)).save(tmp_path / "cmyk.tif")
    assert load(tmp_path / "cmyk.tif", (3, 2, 2))[:, 0, 0].tolist() == [0, 255, 255]
    Image.new("1", (2, 2), 1).save(tmp_path / "one.png")
    assert (load(tmp_path / "one.png", (3, 2, 2)) == 255).all()


def test_the_camera_says_which_way_is_up(tmp_path):
    image = Image.new("RGB", (2, 1), (0, 0, 0))
    image.putpixel((1, 0), (250, 250, 250))
    exif = Image.Exif()
    exif[0x0112] = 3                                    # half a turn
    image.save(tmp_path / "x.png", exif=exif)
    assert load(tmp_path / "x.png", (1, 1, 2)).tolist() == [[[250, 0]]]


def test_of_several_frames_the_first(tmp_path):
    first, second = Image.new("L", (2, 2), 7), Image.new("L", (2, 2), 200)
    first.save(tmp_path / "x.gif", save_all=True, append_images=[second])
    assert (load(tmp_path / "x.gif", (1, 2, 2)) == 7).all()


@pytest.mark.parametrize("pixels, what", [
    (np.full((2, 2), 0.5, np.float32), "32-bit floats (mode F)"),
    (np.full((2, 2), 70_000, np.int32), "32-bit integers (mode I)")])
def test_an_unknown_range_is_refused_by_name(tmp_path, pixels, what):
    path = tmp_path / "x.tif"
    Image.fromarray(pixels).save(path)
    with pytest.raises(UserError) as error:
        load(path)
    assert str(error.value) == (f"{path}: its pixels are {what}, and the file does not say what white is; save it with "
                                "8 bits a colour")


def test_large_pictures_without_a_warning_up_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50)
    Image.new("L", (10, 10), 9).save(tmp_path / "large.png")            # Pillow warns from 51 on
    Image.new("L", (101, 1), 9).save(tmp_path / "too_large.png")        # and stops from 101 on
    with warnings.catch_warnings(action="error"):
        assert (load(tmp_path / "large.png") == 9).all()
        with pytest.raises(UserError) as error:
            load(tmp_path / "too_large.png")
    assert str(error.value) == f"{tmp_path / 'too_large.png'}: more than 100 pixels; make it smaller first"


def test_bad_pictures(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(tmp_path / "cut.png")
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[:60])
    (tmp_path / "folder").mkdir()
    for name, message in (("text.png", "not a picture file"), ("cut.png", ""), ("folder", "Is a directory"),
                          ("kat.png", f"no such file; did you mean {tmp_path / 'cut.png'}?"),
                          ("zebra.bmp", "no such file")):
        with pytest.raises(UserError) as error:
            load(tmp_path / name)
        found = str(error.value)
        assert found.startswith(f"{tmp_path / name}: ") and found.endswith(message) and "\n" not in found


def test_a_picture_is_known_by_its_content(tmp_path):
    buffer = io.BytesIO()
    Image.new("L", (2, 2)).save(buffer, "PNG")
    (tmp_path / "no_suffix").write_bytes(buffer.getvalue())
    np.savez(tmp_path / "net.npz", np.zeros(3))
    assert is_picture(tmp_path / "no_suffix")
    assert not any(map(is_picture, (tmp_path / "net.npz", tmp_path / "missing", tmp_path)))
