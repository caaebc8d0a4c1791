from __future__ import annotations

import pytest

from harmnmf.progress import seconds_done


@pytest.mark.parametrize("duration", [10.04, 0.0])
def test_a_bar_shows_the_seconds_done(capsys, duration):
    with seconds_done(True, lambda: duration) as report:
        for seconds in (3.02, 10.06):  # the last frame ends after the last sample
            report(seconds)
    shown = capsys.readouterr().err
    assert ("10.0/10.0" if duration else "10.1s") in shown


def test_a_function_is_called(capsys):
    done = []
    with seconds_done(done.append, lambda: pytest.fail("not needed")) as report:
        report(3.0)
    assert done == [3.0]
    for nothing in (None, False):
        with seconds_done(nothing, lambda: pytest.fail("not needed")) as report:
            assert report is None
    assert capsys.readouterr().err == ""
