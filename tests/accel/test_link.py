"""Limits of the UART protocol that a net can meet, and what it tells of a net."""
import binascii
import hashlib

import numpy as np
import pytest

from accel import link
from accel.compiler.compile import compile_net
from accel.config import R16C16P2
from model.common.errors import UserError
from tests.nets import NetBuilder


def image_of(*, classes=10, side=8, config=R16C16P2):
    build = NetBuilder(np.random.default_rng(1), (3, side, side), "wide")
    build.logits(build.layer(build.conv("image", 4)), classes)
    return compile_net(build.net(), config)


def test_an_answer_fits_a_frame():
    most = (link.MAX_PAYLOAD - 6) // 4                      # class and cycles come after the logits
    assert link.net_fields(image_of(classes=most))["n_logits"] == most
    sentence = f"wide has answers of {4 * most + 10} bytes, a frame of the UART carries {link.MAX_PAYLOAD}"
    with pytest.raises(UserError, match=f"^{sentence}$"):
        link.tape_fields(image_of(classes=most + 1))


def test_what_a_board_is_told_of_a_net():
    image = image_of(side=32)
    octets, begin, end = link.tape_fields(image)
    assert octets == image.tape.astype("<u2").tobytes() and len(octets) == 1024 * begin["chunks"]
    assert begin["tape"].to_bytes(8, "little") == hashlib.sha256(octets).digest()[:8]
    assert end == {"check": binascii.crc32(octets), "resident": 1, "n_logits": 10, "pixels": 32 * 32,
                   "net": int.from_bytes(bytes.fromhex(image.net_digest)[:8], "little")}


def test_the_largest_picture_has_a_number_of_bytes_that_info_holds():
    assert 3 * 127 * 127 < 1 << dict(link.Info.as_shape())["pixel_bytes"].width


def test_the_longest_parts_fill_a_frame():
    assert link.size(link.LoadOffset) + link.MAX_TAPE_PART == link.MAX_PAYLOAD
    assert link.MAX_PAYLOAD - 3 < link.size(link.PictureOffset) + link.MAX_PICTURE_PART <= link.MAX_PAYLOAD
    assert link.MAX_TAPE_PART % 2 == 0 and link.MAX_PICTURE_PART % 3 == 0
