"""Limits of the UART protocol that a net can meet."""
import hashlib
import zlib
from dataclasses import replace

import numpy as np
import pytest

from accel import link
from accel.compiler.compile import compile_net
from accel.config import R16C16P2
from model.common.errors import UserError
from tests.nets import NetBuilder


def image_of(*, classes=10, config=R16C16P2):
    build = NetBuilder(np.random.default_rng(1), (3, 8, 8), "wide")
    build.logits(build.layer(build.conv("image", 4)), classes)
    return compile_net(build.net(), config)


def test_an_answer_fits_a_frame():
    most = (link.MAX_PAYLOAD - 6) // 4                      # class and cycles come after the logits
    assert link.net_fields(image_of(classes=most))["n_logits"] == most
    sentence = f"wide has answers of {4 * most + 10} bytes, a frame of the UART carries {link.MAX_PAYLOAD}"
    with pytest.raises(UserError, match=f"^{sentence}$"):
        link.tape_fields(image_of(classes=most + 1))


def test_a_picture_of_any_size_comes_in_parts():
    """As large as a tape can say it: 127 x 127 pixels, three bytes each."""
    largest = replace(image_of(), picture_shape=(127, 127))
    assert link.net_fields(largest)["pixels"] == link.MAX_PIXELS == 127 * 127
    assert link.MAX_PICTURE_PART % 3 == 0 and link.MAX_PICTURE_PART <= link.MAX_PAYLOAD - 2


def test_the_tape_on_the_line():
    """Its bytes, what BEGIN_LOAD and END_LOAD say of them."""
    image = image_of()
    octets, begin, end = link.tape_fields(image)
    assert octets == image.tape.astype("<u2").tobytes()
    assert begin == {"tape": int.from_bytes(hashlib.sha256(octets).digest()[:8], "little"), "chunks": len(image.tape)}
    assert end == {"check": zlib.crc32(octets), "resident": 1, **link.net_fields(image)}
    deep = image_of(config=replace(R16C16P2, program_depth=1))
    assert link.tape_fields(deep)[2]["resident"] == 0
