"""Limits of the UART protocol that a net can meet."""
from dataclasses import replace

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
        link.image_entries(image_of(classes=most + 1))


def test_a_picture_fits_a_frame():
    large = replace(R16C16P2, picture_height=40, picture_width=40)
    assert link.net_fields(image_of(side=36, config=large))["pixel_bytes"] == 3888
    with pytest.raises(UserError, match="wide has pictures of 4107 bytes"):
        link.net_fields(image_of(side=37, config=large))
