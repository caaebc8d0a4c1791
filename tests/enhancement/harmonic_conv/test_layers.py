from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck

from harmnmf import ParameterError
from harmnmf.enhancement import (
    HarmonicConv2d,
    LogHarmonicConv2d,
    harmonic_conv2d,
    log_harmonic_conv2d,
)
from harmnmf.enhancement.harmonic_conv.compute import Time, convolve
from harmnmf.enhancement.harmonic_conv.rows import Taps

every_algorithm = pytest.mark.parametrize("algorithm", ["bands", "stack", "taps"])


def read(column, position):
    """Interpolate between the rows of a list; zero beyond the ends."""
    last = len(column) - 1
    if position < -1e-9 or position > last + 1e-9:
        return torch.zeros_like(column[0])
    position = min(max(position, 0), last)
    lower = min(math.floor(position), max(last - 1, 0))
    upper = min(lower + 1, last)
    return column[lower] + (position - lower) * (column[upper] - column[lower])


def dense_reference(x, weight, bias, taps, time):
    """The definition, in loops."""
    stride, padding, dilation, groups = time
    n, _, n_rows, _ = x.shape
    n_out, n_each, n_taps, size = weight.shape
    x = torch.nn.functional.pad(x, (padding, padding))
    n_frames = (x.shape[3] - dilation * (size - 1) - 1) // stride + 1
    y = x.new_zeros(n, n_out, len(range(0, n_rows, taps.stride)), n_frames)
    for i, row in enumerate(range(0, n_rows, taps.stride)):
        for tap in range(n_taps):
            harmonic = 1 + tap * taps.dilation
            if taps.bins_per_octave is None:
                position = harmonic * row / taps.anchor
            else:
                position = row + taps.bins_per_octave * math.log2(harmonic / taps.anchor)
            for out in range(n_out):
                first = out // (n_out // groups) * n_each
                for each in range(n_each):
                    rows = read(list(x[:, first + each].unbind(1)), position)
                    for dt in range(size):
                        frames = rows[:, dt * dilation :][:, ::stride][:, :n_frames]
                        y[:, out, i] += weight[out, each, tap, dt] * frames
    return y if bias is None else y + bias[:, None, None]


def random_tensors(taps, time, n=2, n_in=2, n_out=4, size=3, n_frames=7, **kwargs):
    generator = torch.Generator().manual_seed(0)
    kwargs = {"dtype": torch.float64, "generator": generator, **kwargs}
    x = torch.randn(n, n_in, taps.n_rows, n_frames, **kwargs)
    weight = torch.randn(n_out, n_in // time.groups, taps.n_taps, size, **kwargs)
    bias = torch.randn(n_out, **kwargs)
    return x, weight, bias


CASES = [
    (Taps(11, 4, 1), Time(1, 1, 1, 1)),
    (Taps(11, 4, 2), Time(1, 0, 1, 1)),
    (Taps(10, 3, 3), Time(2, 1, 1, 2)),
    (Taps(9, 2, 5), Time(1, 1, 2, 1)),
    (Taps(12, 4, 2, stride=2), Time(1, 2, 2, 1)),
    (Taps(12, 3, 2, stride=3, dilation=2), Time(3, 0, 1, 2)),
    (Taps(1, 3, 1), Time(1, 1, 1, 1)),
    (Taps(14, 4, 2, bins_per_octave=4.0), Time(1, 1, 1, 1)),
    (Taps(14, 3, 1, bins_per_octave=5.5), Time(2, 1, 2, 2)),
    (Taps(13, 3, 3, stride=2, bins_per_octave=4.7), Time(1, 1, 1, 1)),
    (Taps(8, 2, 3, bins_per_octave=40.0), Time(1, 1, 1, 1)),  # reads nothing
]
PADDING = Time(1, 1, 1, 1)


@every_algorithm
@pytest.mark.parametrize(("taps", "time"), CASES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_output_equals_the_definition(algorithm, taps, time, memory_format):
    x, weight, bias = random_tensors(taps, time)
    y = convolve(x.to(memory_format=memory_format), weight, bias, taps, time, algorithm)
    torch.testing.assert_close(y, dense_reference(x, weight, bias, taps, time))


@every_algorithm
@pytest.mark.parametrize("n_out", [2, 4])
@pytest.mark.parametrize(("taps", "time"), CASES)
def test_gradients_are_exact(algorithm, taps, time, n_out):
    tensors = random_tensors(taps, time, n_in=4, n_out=n_out, size=2, n_frames=4)
    tensors = [a.requires_grad_() for a in tensors]

    def apply(*tensors):
        return convolve(*tensors, taps, time, algorithm)

    assert gradcheck(apply, tensors, fast_mode=True)
    assert gradgradcheck(apply, tensors, fast_mode=True)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_all_algorithms_agree(data):
    def integer(low, high):
        return data.draw(st.integers(low, high))

    bins_per_octave = data.draw(st.none() | st.floats(0.5, 60.0))
    taps = Taps(*map(integer, (1, 1, 1, 1, 1), (40, 6, 7, 3, 3)), bins_per_octave)
    time = Time(integer(1, 3), integer(0, 3), integer(1, 2), data.draw(st.sampled_from([1, 2])))
    n_in, n_out = data.draw(st.sampled_from([(2, 2), (2, 4), (4, 2)]))
    x, weight, bias = random_tensors(taps, time, integer(1, 3), n_in, n_out, integer(1, 3), 8)
    if data.draw(st.booleans()):
        x = x.to(memory_format=torch.channels_last)
    tensors = [x, weight, bias]
    needed = data.draw(st.sets(st.sampled_from(range(3)), min_size=1).map(sorted))
    for i in needed:
        tensors[i].requires_grad_()
    results = []
    for algorithm in ("bands", "stack", "taps"):
        y = convolve(*tensors, taps, time, algorithm)
        gradients = torch.autograd.grad(y.square().sum(), [tensors[i] for i in needed])
        results.append((y, *gradients))
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            torch.testing.assert_close(a, b)


def test_the_logarithmic_layer_and_its_bases():
    layer = LogHarmonicConv2d(2, 3, 4, 1, 1, anchor=2, out_log_scale=12 / math.log(2))
    octaves = {"out_log_scale": 12, "radix": 2.0}
    x = torch.randn(2, 2, 60, 9)
    expected = log_harmonic_conv2d(x, layer.weight, layer.bias, padding=1, anchor=2, **octaves)
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(copy.deepcopy(layer)(x), expected)
    assert "out_log_scale=17.3" in repr(layer)


@pytest.mark.parametrize("kwargs", [{}, {"padding": "same"}, {"stride": (2, 1), "groups": 2}])
def test_the_layer_replaces_conv2d(kwargs):
    torch.manual_seed(0)
    usual = torch.nn.Conv2d(2, 4, (3, 4), **kwargs)
    torch.manual_seed(0)
    layer = HarmonicConv2d(2, 4, (3, 4), **kwargs, anchor=2)
    assert torch.equal(layer.weight, usual.weight)
    layer.load_state_dict(usual.state_dict())
    x = torch.randn(3, 2, 12, 9)
    y = layer(x)
    assert y.shape[3] == usual(x).shape[3]
    assert y.shape[2] == math.ceil(12 / layer.stride[0])
    torch.testing.assert_close(layer(x[1]), y[1])
    assert "anchor=2" in repr(layer)


def test_an_empty_batch():
    layer = HarmonicConv2d(2, 4, 3, padding=1)
    y = layer(torch.ones(0, 2, 12, 9))
    assert y.shape == (0, 4, 12, 9)
    assert torch.autograd.grad(y.sum(), layer.weight)[0].count_nonzero() == 0


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [(0, 2), "same"])
def test_padding_modes_pad_time_only(mode, padding):
    layer = HarmonicConv2d(2, 3, (3, 5), padding=padding, padding_mode=mode)
    x = torch.randn(2, 2, 7, 9)
    padded = torch.nn.functional.pad(x, (2, 2, 0, 0), mode)
    torch.testing.assert_close(layer(x), harmonic_conv2d(padded, layer.weight, layer.bias))


@pytest.mark.parametrize("algorithm", ["stack", "taps"])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_memory_format_is_kept(algorithm, memory_format):
    taps = Taps(30, 3, 2)
    tensors = random_tensors(taps, PADDING, n_in=4, n_out=8, n_frames=9, dtype=torch.float32)
    x, weight, bias = tensors
    x = x.to(memory_format=memory_format).requires_grad_()
    y = convolve(x, weight, bias, taps, PADDING, algorithm)
    assert y.is_contiguous(memory_format=memory_format)
    (grad,) = torch.autograd.grad(y.sum(), x)
    assert grad.is_contiguous(memory_format=memory_format)


def test_large_batches_are_computed_in_parts():
    """An output sample takes 6 MB, and a part at most 16 MB, or 2 MB if rows are resampled."""
    taps = Taps(256, 4, 2)
    tensors = random_tensors(taps, PADDING, 5, 1, 12, 1, n_frames=512, dtype=torch.float32)
    tensors = [a.requires_grad_() for a in tensors]
    results = []
    for algorithm in ("taps", "bands"):
        y = convolve(*tensors, taps, PADDING, algorithm)
        results.append((y, *torch.autograd.grad(y.square().mean(), tensors)))
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@every_algorithm
def test_rows_that_are_not_read_have_no_effect(algorithm):
    taps = Taps(12, 4, 1)
    x, weight, bias = random_tensors(taps, PADDING)
    x[:, :, 11] = math.inf
    y = convolve(x, weight, bias, taps, PADDING, algorithm)
    assert y[:, :, :11].isfinite().all()


@pytest.mark.parametrize(
    ("dtype", "autocast", "tolerance"),
    [
        (torch.float16, False, 2e-2),
        (torch.bfloat16, False, 1e-1),
        (torch.bfloat16, True, 5e-2),
        (torch.float32, False, 1e-4),
    ],
)
def test_dtypes(dtype, autocast, tolerance):
    stored = torch.float32 if autocast else dtype
    layer = HarmonicConv2d(2, 4, 5, padding=2, anchor=2, dtype=stored)
    x = torch.randn(2, 2, 30, 9).to(stored)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        y = layer(x)
    assert y.dtype == dtype
    precise = copy.deepcopy(layer).double()(x.double())
    torch.testing.assert_close(y.double(), precise, rtol=tolerance, atol=tolerance)
    assert torch.autograd.grad(y.float().sum(), layer.weight)[0].dtype == stored


LAYERS = [
    HarmonicConv2d(2, 4, 3, padding=1, anchor=2),
    LogHarmonicConv2d(2, 4, (3, 4), padding="same", out_log_scale=5, radix=2),
]


def test_compiles_into_one_graph():
    layer = LAYERS[0]
    torch.compiler.reset()
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    for n_frames in (9, 14):
        x = torch.randn(2, 2, 30, n_frames, requires_grad=True)
        y, expected = compiled(x), layer(x)
        torch.testing.assert_close(y, expected)
        for a, b in zip(
            torch.autograd.grad(y.square().sum(), (x, layer.weight)),
            torch.autograd.grad(expected.square().sum(), (x, layer.weight)),
            strict=True,
        ):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
@pytest.mark.parametrize("strict", [False, True])
def test_exports(layer, strict):
    x = torch.randn(2, 2, 31, 9)  # sizes of no other test, since tables are cached
    frames = torch.export.Dim("frames", min=8, max=4096)
    shapes = ({3: frames},)
    program = torch.export.export(layer, (x,), dynamic_shapes=shapes, strict=strict)
    longer = torch.randn(2, 2, 31, 21)
    torch.testing.assert_close(program.module()(longer), layer(longer))


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=pytest.mark.cuda), "mps"])
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_other_devices(layer, device):
    if not getattr(torch, device).is_available():
        pytest.skip(f"needs {device}")
    there = copy.deepcopy(layer).to(device)
    x = torch.randn(2, 2, 30, 9)
    y, expected = there(x.to(device)), layer(x)
    torch.testing.assert_close(y.cpu(), expected, rtol=1e-2, atol=1e-2)
    a = torch.autograd.grad(y.square().mean(), there.weight)[0].cpu()
    b = torch.autograd.grad(expected.square().mean(), layer.weight)[0]
    torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"anchor": 0}, "anchor must be an integer of at least 1, not 0"),
        ({"padding": (1, 1)}, "padding must be 0 in frequency"),
        ({"padding": -1}, "not negative in time"),
        ({"padding": "some"}, "padding must be 'valid', 'same'"),
        ({"padding": "same", "stride": 2}, "stride of 1 in time"),
        ({"stride": 0}, "stride must be an integer of at least 1, not 0"),
        ({"dilation": (1, 2, 3)}, "dilation must be an integer or two"),
        ({"kernel_size": (3, 0)}, "kernel_size must be an integer of at least 1, not 0"),
        ({"out_log_scale": 0}, "out_log_scale must be a finite number above 0"),
        ({"radix": 1}, "radix must be a finite number above 1, not 1"),
    ],
)
def test_invalid_parameters(kwargs, message):
    with pytest.raises(ValueError, match=message):
        LogHarmonicConv2d(**{"in_channels": 2, "out_channels": 4, "kernel_size": 3, **kwargs})


@pytest.mark.parametrize(
    ("x", "weight", "bias", "groups", "message"),
    [
        ((2, 9), (4, 2, 3, 3), 4, 1, "shape of input must be"),
        ((3, 9, 9), (4, 2, 3, 3), 4, 1, r"must be \(\[n,\] 2, n_bins, n_frames\)"),
        ((2, 0, 9), (4, 2, 3, 3), 4, 1, "at least one bin"),
        ((2, 9, 2), (4, 2, 3, 3), 4, 1, "3 frames does not fit into 2"),
        ((2, 9, 9), (4, 2, 3), 4, 1, "shape of weight must be"),
        ((2, 9, 9), (4, 2, 3, 3), 3, 1, r"shape of bias must be \(4,\)"),
        ((4, 9, 9), (3, 2, 3, 3), 3, 2, "groups must divide 3 output channels, not 2"),
    ],
)
def test_invalid_shapes(x, weight, bias, groups, message):
    with pytest.raises(ParameterError, match=message):
        harmonic_conv2d(torch.ones(x), torch.ones(weight), torch.ones(bias), groups=groups)


@every_algorithm
def test_training_after_inference(algorithm):
    taps = Taps(43, 3, 2)  # sizes of no other test, since tables are cached
    tensors = random_tensors(taps, PADDING)
    with torch.inference_mode():
        convolve(*tensors, taps, PADDING, algorithm)
    tensors[1].requires_grad_()
    convolve(*tensors, taps, PADDING, algorithm).sum().backward()
    assert tensors[1].grad is not None
