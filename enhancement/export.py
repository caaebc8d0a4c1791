"""Export of streaming networks to ONNX, one frame per call."""

from __future__ import annotations

import copy
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from harmnmf.errors import HarmnmfError, ParameterError
from harmnmf.signal.audio import SAMPLE_RATE
from harmnmf.storage.files import atomic_path

from .transform import ShortTimeFourier

__all__ = ["export_onnx"]

# The first opset with LayerNormalization, supported by every runtime since 2022.
_OPSET = 17

_USE = (
    "Take frames of n_fft samples, hop_length after one another. spectrum[0, :, :, 0] is the real"
    " and the imaginary part of rfft(window * frame); state is next_state of the frame before,"
    " and zeros for the first. Overlap and add window * irfft(estimate)."
)


def export_onnx(
    path: str | os.PathLike[str], model: nn.Module, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write a network to an ONNX file that enhances one frame per call.

    The inputs are ``spectrum``, of shape (1, 2, n_bins, 1), and ``state``; the outputs are
    ``estimate`` and ``next_state``, of the same shapes. All are float32; axis 1 of a spectrum holds
    its real and imaginary part. The metadata of the file describe the transform and its use.

    Parameters
    ----------
    path : str or os.PathLike
        File to write or replace; ``.onnx`` by convention.
    model : torch.nn.Module
        A streaming network, such as ``harmonic-light``.
    metadata : mapping, optional
        Further metadata, such as a licence; JSON values.

    Raises
    ------
    ParameterError
        If the network cannot stream.
    HarmnmfError
        If the package onnx is missing, or the folder is not writable.

    Examples
    --------
    >>> import tempfile
    >>> from harmnmf.enhancement.models.registry import build_model
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export_onnx(f"{folder}/a.onnx", build_model("harmonic-light"))
    ...     os.listdir(folder)
    ['a.onnx']
    """
    if not hasattr(model, "step_parts"):
        raise ParameterError(
            f"{type(model).__name__} cannot stream; export a network that does, such as"
            " harmonic-light"
        )
    try:
        import onnx
    except ImportError as error:
        raise HarmnmfError("onnx is not installed: pip install 'harmnmf[onnx]'") from error
    transform = cast(ShortTimeFourier, model.transform)
    properties = {
        **(metadata or {}),
        "sample_rate": SAMPLE_RATE,
        "n_fft": transform.n_fft,
        "hop_length": transform.hop_length,
        "window": "sqrt(2 * hop_length / n_fft) * sin(pi * n / n_fft)",
        "use": _USE,
    }
    with atomic_path(path) as temporary:
        _trace(_Frame(copy.deepcopy(model).cpu().eval()), transform.n_bins, temporary)
        network = onnx.load_model_from_string(temporary.read_bytes())
        onnx.helper.set_model_props(
            network, {k: v if isinstance(v, str) else json.dumps(v) for k, v in properties.items()}
        )
        temporary.write_bytes(network.SerializeToString())


class _Frame(nn.Module):
    """A network whose forward pass is `step_parts`."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, spectrum: torch.Tensor, state: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        result: tuple[torch.Tensor, torch.Tensor] = self.model.step_parts(spectrum, state)
        return result


@torch.no_grad()
def _trace(network: nn.Module, n_bins: int, path: Path) -> None:
    spectrum = torch.zeros(1, 2, n_bins, 1)
    _, state = network(spectrum, None)
    with warnings.catch_warnings():
        # This exporter is deprecated, but the new one needs a newer PyTorch and more packages. It
        # also warns that constants depend on the input size, which is fixed here.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (spectrum, state),
            str(path),
            input_names=["spectrum", "state"],
            output_names=["estimate", "next_state"],
            opset_version=_OPSET,
            dynamo=False,
        )
