from __future__ import annotations

import pytest
import torch

from harmnmf import ParameterError
from harmnmf.device import low_precision, resolve_device


def test_names():
    assert resolve_device("cpu") == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device("auto").type == expected


@pytest.mark.parametrize("name", ["", "gpu", "cuda:99", "meta", "xla", "privateuseone"])
def test_errors_are_one_line(name):
    with pytest.raises(ParameterError) as caught:
        resolve_device(name)
    message = str(caught.value)
    assert message.startswith(f"device {name!r} cannot be used here (")
    assert "\n" not in message
    assert len(message) < 400


def test_low_precision():
    x = torch.ones(2, 2)
    with low_precision("cpu"):
        native = (x @ x).dtype
    assert native in (torch.float32, torch.bfloat16)
    with low_precision("cpu", enabled=False):
        assert (x @ x).dtype == torch.float32
    assert (x @ x).dtype == torch.float32
