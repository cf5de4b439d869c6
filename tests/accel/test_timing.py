"""The numbers of `accel.timing` among themselves; that they are the RTL's, every component's own test says."""
import re

import pytest

from accel import timing
from accel.config import CONFIGS, R16C16P2

CONFIG_IDS = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def test_the_timeline_in_the_docstring_is_that_of_the_85f():
    config = R16C16P2
    values = {"rows": config.rows, "im2col_sums": timing.im2col_sums(config.rows)}
    values |= {name: getattr(timing, name)(config) for name in ("sums_at", "codes_at", "drain")}
    values |= {name: getattr(timing, name) for name in timing.__all__ if name.isupper()}
    lines = re.findall(r"^    (\S.*?) {2,}(-?\d+)  ", timing.__doc__, re.MULTILINE)
    assert len(lines) == 12
    for expression, number in lines:
        terms = re.findall(r"(-?) ?(\w+)", expression)
        assert sum((-1 if sign else 1) * (values[term] if term in values else int(term))
                   for sign, term in terms) == int(number), expression


@CONFIG_IDS
def test_nothing_is_wanted_before_it_is_there(config):
    correction = timing.sums_at(config) + timing.ACCUMULATOR_ALIGNED - timing.CORRECTION
    assert correction >= timing.im2col_sums(config.rows)
    assert timing.ARRAY_WEIGHTS >= timing.WEIGHT_CODES + timing.LEVEL_DECODER


@CONFIG_IDS
def test_logits_are_summed_when_the_codes_are_written(config):
    last_sums = timing.sums_at(config, config.chains - 1)
    assert last_sums + timing.ACCUMULATOR + timing.LOGIT_SUM <= timing.drain(config)


@CONFIG_IDS
def test_codes_can_be_read_by_a_pass_that_starts_when_they_are_written(config):
    """Its first read comes `rows` + IM2COL_READ cycles after its start."""
    assert timing.ACTIVATION_WRITE <= config.rows + timing.IM2COL_READ
