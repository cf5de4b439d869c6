"""Limits of the UART protocol that a net can meet."""
import numpy as np
import pytest

from accel import link
from accel.compiler.compile import compile_net
from accel.config import R16C16P2
from model.common.errors import UserError
from tests.nets import NetBuilder


def image_of(*, classes):
    build = NetBuilder(np.random.default_rng(1), (3, 8, 8), "wide")
    build.logits(build.layer(build.conv("image", 4)), classes)
    return compile_net(build.net(), R16C16P2)


def test_an_answer_fits_a_frame():
    most = (link.MAX_PAYLOAD - 6) // 4                      # class and cycles come after the logits
    assert link.net_fields(image_of(classes=most))["n_logits"] == most
    sentence = f"wide has answers of {4 * most + 10} bytes, a frame of the UART carries {link.MAX_PAYLOAD}"
    with pytest.raises(UserError, match=f"^{sentence}$"):
        link.net_fields(image_of(classes=most + 1))
