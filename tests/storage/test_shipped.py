from __future__ import annotations

from pathlib import Path

import pytest

from harmnmf import HarmnmfError
from harmnmf.storage.shipped import find_file, shipped_files


def test_shipped_names_and_paths(tmp_path):
    shipped = shipped_files("harmnmf", "data")
    (tmp_path / "mine").touch()
    assert find_file("default", shipped, "dictionary") == shipped["default"]
    assert shipped["default"].is_file()
    assert find_file(tmp_path / "mine", shipped, "dictionary") == Path(tmp_path, "mine")
    with pytest.raises(HarmnmfError, match=r"yours: no such dictionary \(shipped: default; or"):
        find_file("yours", shipped, "dictionary")
