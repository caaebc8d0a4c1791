from __future__ import annotations

import numpy as np
import pytest

from benchmarks.comb_pitch import pitch_errors


def test_errors_are_counted_where_the_reference_has_a_pitch():
    reference = np.array([100, 100, 100, 100, 100, np.nan, np.nan])
    found = np.array([100, 119, 121, 79, np.nan, 500, np.nan])
    assert pitch_errors(found, reference) == pytest.approx((2 / 4, 1 / 5))
