"""Other ways to separate groups of notes that are known, to compare `harmnmf separate` with.

All but the oracle are functions of a mixture, its notes and the groups of their indices, which
return the sound of each group. They mask the mixture's short-time Fourier transform, as librosa
computes it, and give all of it to the groups.

Their parameters are those with the greatest SDR on six excerpts, dry and in a hall, of: windows of
1024, 2048 and 4096 samples; powers of the masks of 1, 1.5 and 2; with NMF 5 to 100 iterations;
notes that begin up to 0.2 s early and end up to 1 s late; partials half a semitone wide, half and
twice as much, or without limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import librosa
import numpy as np
import torch
from numpy.typing import NDArray

from harmnmf import NoteList
from harmnmf.nmf.solvers.multiplicative import MultiplicativeOptions, factorize
from harmnmf.nmf.templates import main_lobe
from harmnmf.signal.harmonics import HarmonicSeries, piano_inharmonicity, pitch_to_hz

from .data import SAMPLE_RATE

OVERLAP = 4  # windows that overlap at each sample
N_PARTIALS = 40

Samples = NDArray[np.float32]
Magnitudes = NDArray[np.float32]
Groups = Mapping[str, NDArray[np.int64]]
Separate = Callable[[Samples, NoteList, Groups], dict[str, Samples]]


def oracle(
    mixture: Samples, parts: Mapping[str, Samples], *, n_fft: int = 2048, power: float = 2.0
) -> dict[str, Samples]:
    """Mask by the share of each true part in the powers."""
    models = {name: np.abs(_stft(part, n_fft)) for name, part in parts.items()}
    return _masked(mixture, models, n_fft, power)


def comb(
    mixture: Samples,
    notes: NoteList,
    groups: Groups,
    *,
    n_fft: int = 1024,
    width: float = np.inf,
    release: float = 0.05,
) -> dict[str, Samples]:
    """Give each bin to the group with the nearest partial.

    Bins further than `width` semitones from all partials, and those of frames without notes, are
    shared equally.
    """
    n_bins, n_frames = n_fft // 2 + 1, 1 + len(mixture) * OVERLAP // n_fft
    distance = {name: np.full((n_bins, n_frames), np.inf, np.float32) for name in groups}
    nearest = _partial_distances(n_fft)
    spans = _spans(notes, n_fft, before=0.0, after=release)
    for name, indices in groups.items():
        for i in indices:
            first, last = spans[i]
            part = distance[name][:, first:last]
            np.minimum(part, nearest(int(notes.pitch[i]))[:, None], out=part)
    least = np.minimum.reduce(list(distance.values()))
    is_far = ~(least <= width)
    models = {name: ((d == least) | is_far).astype(np.float32) for name, d in distance.items()}
    return _masked(mixture, models, n_fft, 1.0)


def soft_masks(
    mixture: Samples,
    notes: NoteList,
    groups: Groups,
    *,
    n_fft: int = 1024,
    power: float = 1.0,
    release: float = 0.05,
) -> dict[str, Samples]:
    """Mask by combs of partials with the magnitudes that the mixture has there.

    `librosa.f0_harmonics` reads them at the partials of each note, each partial is drawn as the
    main lobe of the window, and `librosa.util.softmask` compares a group with all others.
    """
    X = _stft(mixture, n_fft)
    magnitude = np.abs(X)
    frequencies = librosa.fft_frequencies(sr=SAMPLE_RATE, n_fft=n_fft)
    spans = _spans(notes, n_fft, before=0.0, after=release)
    models = {name: np.zeros_like(magnitude) for name in groups}
    for name, indices in groups.items():
        for i in indices:
            first, last = spans[i]
            part = magnitude[:, first:last]
            lobes, hz = _lobes(int(notes.pitch[i]), n_fft)
            ratios = hz / hz[0]
            f0 = np.full(part.shape[1], hz[0])
            heights = librosa.f0_harmonics(part, freqs=frequencies, f0=f0, harmonics=ratios)
            models[name][:, first:last] += lobes @ heights
    total = sum(models.values())
    masks = {
        name: librosa.util.softmask(model, total - model, power=power, split_zeros=True)
        for name, model in models.items()
    }
    return {name: _istft(mask * X, len(mixture), n_fft) for name, mask in masks.items()}


def unconstrained_nmf(
    mixture: Samples,
    notes: NoteList,
    groups: Groups,
    *,
    n_fft: int = 1024,
    power: float = 1.5,
    max_iter: int = 50,
    before: float = 0.02,
    after: float = 0.3,
) -> dict[str, Samples]:
    """Mask by NMF with activations only where there are notes, and any spectra.

    There is one random spectrum a key, and the divergence is that of Kullback and Leibler.
    """
    pitches = np.unique(notes.pitch)
    W = np.random.default_rng(0).uniform(0.5, 1.0, (n_fft // 2 + 1, len(pitches)))
    owner = _owners(notes, groups, pitches, len(mixture), n_fft, before, after)
    return _by_nmf(mixture, W, owner, list(groups), n_fft, power, max_iter)


def score_informed_nmf(
    mixture: Samples,
    notes: NoteList,
    groups: Groups,
    *,
    n_fft: int = 2048,
    power: float = 1.5,
    max_iter: int = 10,
    before: float = 0.05,
    after: float = 0.5,
    width: float = 0.25,
    attack: float = 0.1,
) -> dict[str, Samples]:
    """Mask by NMF whose activations and spectra are both restricted by the notes [1]_.

    Spectra are zero further than `width` semitones from all partials. A second spectrum a key, for
    attacks, has no zeros, and sounds within `attack` seconds of the onsets.

    References
    ----------
    .. [1] S. Ewert and M. Müller, "Using score-informed constraints for NMF-based source
       separation", ICASSP 2012, pp. 129–132.
    """
    pitches = np.unique(notes.pitch)
    harmonic = np.stack([_partials(pitch, n_fft, width) for pitch in pitches.tolist()], axis=1)
    W = np.concatenate([harmonic, np.full_like(harmonic, 1 / len(harmonic))], axis=1)
    owner = _owners(notes, groups, pitches, len(mixture), n_fft, before, after)
    struck = NoteList(notes.onset, notes.onset + 1e-3, notes.pitch, notes.velocity)
    attacks = _owners(struck, groups, pitches, len(mixture), n_fft, attack, attack)
    owners = np.concatenate([owner, attacks])
    return _by_nmf(mixture, W, owners, list(groups), n_fft, power, max_iter)


PEERS: dict[str, Separate] = {
    "binary harmonic comb": comb,
    "soft masks of librosa": soft_masks,
    "NMF, activations from the notes": unconstrained_nmf,
    "NMF, activations and partials from the notes": score_informed_nmf,
}


def _by_nmf(
    mixture: Samples,
    W: NDArray[np.float64],
    owner: NDArray[np.int64],
    names: list[str],
    n_fft: int,
    power: float,
    max_iter: int,
) -> dict[str, Samples]:
    """Mask by the activations that each group owns."""
    V = torch.from_numpy(np.abs(_stft(mixture, n_fft)))
    start = torch.from_numpy((owner >= 0).astype(np.float32))
    options = MultiplicativeOptions(beta=1.0, max_iter=max_iter, tol=None)
    result = factorize(V, torch.from_numpy(W.astype(np.float32)), start, options)
    W_, H = result.W.numpy(), result.H.numpy()
    models = {name: W_ @ np.where(owner == group, H, 0.0) for group, name in enumerate(names)}
    return _masked(mixture, models, n_fft, power)


def _owners(
    notes: NoteList,
    groups: Groups,
    pitches: NDArray[np.int64],
    n_samples: int,
    n_fft: int,
    before: float,
    after: float,
) -> NDArray[np.int64]:
    """Group of each pitch in each frame, -1 where it is silent; the later note owns a frame."""
    owner = np.full((len(pitches), 1 + n_samples * OVERLAP // n_fft), -1)
    group_of = np.full(len(notes), -1)
    for group, indices in enumerate(groups.values()):
        group_of[indices] = group
    spans = _spans(notes, n_fft, before, after)
    for (first, last), pitch, group in zip(spans, notes.pitch, group_of, strict=True):
        owner[np.searchsorted(pitches, pitch), first:last] = group
    return owner


def _spans(notes: NoteList, n_fft: int, before: float, after: float) -> NDArray[np.int64]:
    """First frame of each note and that after its last, with the pedal and some seconds more."""
    times = notes.pedalled().intervals + np.array([-before, after])
    frames = np.rint(times * SAMPLE_RATE * OVERLAP / n_fft).astype(int)
    return np.maximum(frames, 0) + np.array([0, 1])


def _partial_hz(pitch: int) -> NDArray[np.float64]:
    """Frequencies of the partials below the Nyquist frequency."""
    hz = HarmonicSeries(N_PARTIALS, piano_inharmonicity(pitch)).frequencies(pitch_to_hz(pitch))
    return hz[hz < SAMPLE_RATE / 2]


def _partial_distances(n_fft: int) -> Callable[[int], NDArray[np.float32]]:
    """Make a function from a pitch to the semitones between each bin and its nearest partial."""
    bins = np.maximum(librosa.fft_frequencies(sr=SAMPLE_RATE, n_fft=n_fft), 1.0)

    @lru_cache(None)
    def nearest(pitch: int) -> NDArray[np.float32]:
        distance = np.abs(12 * np.log2(bins[:, None] / _partial_hz(pitch)))
        return distance.min(axis=1).astype(np.float32)

    return nearest


def _partials(pitch: int, n_fft: int, width: float) -> NDArray[np.float64]:
    """Spectrum with partials that fall as 1 / h, `width` semitones or two bins to either side."""
    bins = librosa.fft_frequencies(sr=SAMPLE_RATE, n_fft=n_fft)[:, None]
    hz = _partial_hz(pitch)
    reach = np.maximum((2 ** (width / 12) - 1) * hz, 2 * SAMPLE_RATE / n_fft)
    return ((np.abs(bins - hz) <= reach) / np.arange(1, len(hz) + 1)).max(axis=1)


@lru_cache(1024)
def _lobes(pitch: int, n_fft: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Draw main lobes of a Hann window at partials, (n_bins, n_partials); also return their Hz."""
    bins = librosa.fft_frequencies(sr=SAMPLE_RATE, n_fft=n_fft)[:, None]
    hz = _partial_hz(pitch)
    return main_lobe((bins - hz) * n_fft / SAMPLE_RATE).astype(np.float32), hz


def _masked(
    mixture: Samples, models: Mapping[str, Magnitudes], n_fft: int, power: float
) -> dict[str, Samples]:
    """Divide the mixture by the share of each model; where all are zero, equally."""
    X = _stft(mixture, n_fft)
    powers = {name: model**power + 1e-12 for name, model in models.items()}
    total = sum(powers.values())
    return {name: _istft(p / total * X, len(mixture), n_fft) for name, p in powers.items()}


def _stft(samples: Samples, n_fft: int) -> NDArray[np.complex64]:
    return librosa.stft(samples, n_fft=n_fft, hop_length=n_fft // OVERLAP)


def _istft(spectrum: NDArray[np.complex64], n_samples: int, n_fft: int) -> Samples:
    return librosa.istft(spectrum, hop_length=n_fft // OVERLAP, length=n_samples)
