"""Choice of the PyTorch device."""

from __future__ import annotations

import torch

from .errors import ParameterError

__all__ = ["resolve_device"]


def resolve_device(name: str) -> torch.device:
    """Return the PyTorch device with a name; "auto" is a GPU if there is one, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if not isinstance(name, str):
        raise ParameterError(f"device must be a name such as cpu or cuda:1, not {name!r}")
    try:
        device = torch.device(name)
        # Data cannot be copied back from a device like "meta".
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0].split(". ")[0]
        raise ParameterError(
            f"device {name!r} cannot be used here ({reason}); `harmnmf info` lists those available"
        ) from error
    return device
