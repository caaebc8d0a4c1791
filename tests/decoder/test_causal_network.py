"""The causal network, and its weights from a network that knows the future."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_streams import CONFIG, PITCHES, SETTINGS, dictionary, network, random_features

from harmnmf import FormatError, HarmnmfError, ParameterError, TimbreDictionary
from harmnmf.decoder.causal_network import CausalNetwork, shipped_live_networks, stream_settings
from harmnmf.decoder.features import FeatureSettings, SlidingWindow
from harmnmf.decoder.network import NoteNetwork, NoteNetworkConfig
from harmnmf.decoder.weight_transfer import transfer_weights
from harmnmf.signal.spectrogram import LogFrequency, LowLatency
from harmnmf.storage.arrays import load_arrays, save_arrays


def levels(n_frames: int, seed: int = 0) -> list[torch.Tensor]:
    """Input of a network, float64."""
    tensors = SETTINGS.tensors(random_features(n_frames, seed))
    return [x[None].double() for x in tensors]


@pytest.mark.parametrize("centred_up_to", [0, 1, 2, 4])
def test_a_head_looks_ahead_by_its_delay(centred_up_to: int) -> None:
    """Gradients of a frame: up to the delay after it, and no further."""
    one = network(replace(CONFIG, centred_up_to=centred_up_to)).double()
    n_frames, n = 40, 25
    inputs = [x.requires_grad_() for x in levels(n_frames)]
    for delay, logits in zip(CONFIG.delays, one(*inputs), strict=True):
        for field in logits:
            assert field.shape[-1] == n_frames - delay
            gradients = torch.autograd.grad(field[..., n].square().sum(), inputs, retain_graph=True)
            for gradient in gradients:
                seen = gradient.abs().sum(dim=tuple(range(gradient.ndim - 1))).nonzero().flatten()
                assert seen.max() == n + delay
                # Into the past: two dilations of each block before the trunk's first frame.
                reach = 2 * sum(CONFIG.time_dilations)
                assert seen.min() >= n + min(0, delay - one.config.trunk_delay) - reach


def test_later_frames_change_no_bit() -> None:
    one, before = network(), SETTINGS.tensors(random_features(40))
    after = [x.clone() for x in before]
    for x in after:
        x[..., 30:] = 9.0
    outputs = [one(*(x[None] for x in inputs)) for inputs in (before, after)]
    for delay, *heads in zip(CONFIG.delays, *outputs, strict=True):
        for old, new in zip(*heads, strict=True):
            assert torch.equal(old[..., : 30 - delay], new[..., : 30 - delay])
            assert not torch.equal(old[..., 30 - delay], new[..., 30 - delay])


def test_the_trunk_continues_from_its_past() -> None:
    one, inputs = network().double(), levels(30)
    whole, _ = one.trunk(*inputs, one.empty_past())
    past, parts = one.empty_past(), []
    for start, end in ((0, 1), (1, 2), (2, 13), (13, 30)):
        part, past = one.trunk(*(x[..., start:end] for x in inputs), past)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, dim=-1), whole)


def test_members_of_a_batch_are_independent() -> None:
    one, first, second = network().double(), levels(20), levels(20, seed=1)
    both = one(*(torch.cat(pair) for pair in zip(first, second, strict=True)))
    for i, inputs in enumerate((first, second)):
        for alone, together in zip(one(*inputs), both, strict=True):
            for x, y in zip(alone, together, strict=True):
                torch.testing.assert_close(x[0], y[i])


def test_file_round_trip(tmp_path: Path) -> None:
    one = network()
    one.save(tmp_path / "network.safetensors")
    loaded = CausalNetwork.load(tmp_path / "network.safetensors")
    assert not loaded.training
    assert (loaded.config, loaded.settings) == (one.config, one.settings)
    assert loaded.metadata == one.metadata
    inputs = [x[None] for x in SETTINGS.tensors(random_features(20))]
    for same in zip(one(*inputs), loaded(*inputs), strict=True):
        for x, y in zip(*same, strict=True):
            torch.testing.assert_close(x, y, rtol=0, atol=0)


def test_damaged_files(tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    with pytest.raises(HarmnmfError, match="no such network"):
        CausalNetwork.load(path)
    network().save(path)
    whole = path.read_bytes()
    arrays, values = load_arrays(path, kind="causal-note-network")
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match="corrupt"):
        CausalNetwork.load(path)
    features = values["features"]
    for change in (
        {"config": {**values["config"], "n_channels": 5}},
        {"config": {**values["config"], "delays": [3, 0]}},
        {"config": {**values["config"], "delays": []}},
        {"config": {**values["config"], "time_dilations": [1, 2]}},
        {"config": {**values["config"], "time_dilations": [10**9, 2, 4]}},
        {"config": {**values["config"], "n_cats": 3}},
        {"config": []},
        {"features": None},
        {"features": {**features, "sliding": {"n_frames": 0}}},
        {"features": {**features, "sliding": {"ages": []}}},
        {"features": {**features, "sliding": [6, 2]}},
        {"features": {**features, "sliding": None}},
    ):
        save_arrays(path, arrays, {"kind": "causal-note-network", **values, **change})
        with pytest.raises(FormatError, match="damaged"):
            CausalNetwork.load(path)


def test_a_network_for_files_is_refused(tmp_path: Path) -> None:
    NoteNetwork(NoteNetworkConfig(4, 2, (1,), (1,))).save(tmp_path / "a.safetensors")
    network().save(tmp_path / "b.safetensors")
    with pytest.raises(FormatError, match="note-network"):
        CausalNetwork.load(tmp_path / "a.safetensors")
    with pytest.raises(FormatError, match="causal-note-network"):
        NoteNetwork.load(tmp_path / "b.safetensors")


def test_shipped_networks_load() -> None:
    for name in shipped_live_networks():
        shipped = CausalNetwork.load(name)
        assert shipped.metadata
        assert shipped.settings.sliding is not None
        shipped.check_dictionary(TimbreDictionary.load("live"))


@pytest.mark.parametrize(
    "change",
    [
        {"n_channels": 0},
        {"n_partials": 1.5},
        {"time_dilations": (1,)},
        {"key_dilations": (1, 0, 1)},
        {"centred_up_to": -1},
        {"delays": ()},
        {"delays": (0, 0)},
        {"delays": (3, 1)},
        {"delays": (-1, 3)},
        {"delays": (0.5,)},
        {"delays": 3},
    ],
    ids=str,
)
def test_invalid_configurations(change: dict[str, object]) -> None:
    with pytest.raises(ParameterError):
        replace(CONFIG, **change)  # type: ignore[arg-type]


def test_dictionary_must_match_the_training() -> None:
    one, own = network(), dictionary()
    one.check_dictionary(own)
    for change in (
        {"front_end": replace(own.front_end, n_cycles=29.0)},
        {"W": own.W[:, 1:], "pitches": own.pitches[1:], "tuning": own.tuning[1:]},
        {"W": own.W[:, :, :-1]},
    ):
        with pytest.raises(ParameterError, match="another network"):
            one.check_dictionary(replace(own, **change))  # type: ignore[arg-type]


def test_default_settings_are_for_streams() -> None:
    settings = stream_settings()
    assert settings.sliding is not None
    assert isinstance(settings.front_end, LowLatency)
    assert settings.front_end.look_ahead == settings.onset_front_end.look_ahead


# Weights of a network for files.

OFFLINE = FeatureSettings(
    LogFrequency(n_bins=200), LogFrequency(n_bins=200, max_window=0.1), PITCHES, n_rows=3
)


def offline() -> NoteNetwork:
    torch.manual_seed(1)
    one = NoteNetwork(NoteNetworkConfig(4, 3, (1, 2, 4), (12, 1, 7)), settings=OFFLINE)
    for name, x in one.named_buffers():
        if name.endswith("running_mean"):
            x.normal_(0, 0.1)
        elif name.endswith("running_var"):
            x.uniform_(0.5, 2.0)
    return one.eval()


def transferred(source: NoteNetwork, ages: tuple[int, ...], **config: object) -> CausalNetwork:
    """A network with the same input, but for the ages, and the weights of another."""
    settings = replace(OFFLINE, sliding=SlidingWindow(ages=ages))
    config = {"centred_up_to": 32, "delays": (7, 9), **config}
    one = CausalNetwork(replace(CONFIG, **config), settings=settings)  # type: ignore[arg-type]
    transfer_weights(source, one)
    return one.eval().double()


def offline_inputs(n_frames: int, n_ages: int = 1) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (1, 200, n_frames), (1, 200, n_frames), (1, len(PITCHES), 3, n_frames)
    spectra = [torch.rand(shape, generator=generator).double() * 3 for shape in shapes]
    return [*spectra[:2], spectra[2].repeat(1, 1, n_ages, 1)]


@pytest.mark.parametrize("ages", [(0,), (0, 4)])
def test_a_network_that_waits_is_the_other_one_delayed(ages: tuple[int, ...]) -> None:
    source = offline()
    with torch.no_grad():
        # The pedal's filter along time becomes its sum.
        source.pedal.weight[..., :4] = source.pedal.weight[..., 5:] = 0
    one = transferred(source, ages)
    assert one.config.trunk_delay == 7
    with torch.no_grad():
        for head in one.heads:  # their random parts
            head.hidden.weight.zero_()
            head.hidden.weight[:, :4, 0, 0] = torch.eye(4)
    n_frames, context = 60, source.context
    expected = source.double()(*offline_inputs(n_frames))
    for delay, logits in zip((7, 9), one(*offline_inputs(n_frames, len(ages))), strict=True):
        inner = slice(context, n_frames - max(context, delay))
        for x, y in zip(logits, expected, strict=True):
            torch.testing.assert_close(x[..., inner], y[..., inner])


@pytest.mark.parametrize(
    "change",
    [{"n_channels": 5}, {"n_partials": 2}, {"time_dilations": (1, 2, 3)}],
    ids=str,
)
def test_another_architecture(change: dict[str, object]) -> None:
    with pytest.raises(ParameterError, match="same channels"):
        transferred(offline(), (0,), **change)


def test_the_random_parts_of_the_heads_are_small() -> None:
    source = offline()
    one = transferred(source, (0,), delays=(7,))
    inner = slice(source.context, 60 - source.context)
    inputs = offline_inputs(60)
    for x, y in zip(one(*inputs)[0][:4], source.double()(*inputs), strict=False):
        assert (
            torch.corrcoef(torch.stack([x[..., inner].ravel(), y[..., inner].ravel()]))[0, 1] > 0.9
        )


def test_without_waiting_the_future_is_the_present() -> None:
    """Where nothing changes in time, both networks see the same."""
    source = offline()
    one = transferred(source, (0,), centred_up_to=0, delays=(0,))
    with torch.no_grad():
        one.heads[0].hidden.weight.zero_()
        one.heads[0].hidden.weight[:, :4, 0, 0] = torch.eye(4)
    steady = [x[..., :1].expand(*x.shape[:-1], 60) for x in offline_inputs(1)]
    late, middle = (y.double()(*steady) for y in (one, source))
    for x, y in zip(late[0], middle, strict=True):
        torch.testing.assert_close(x[..., 40], y[..., 30])
