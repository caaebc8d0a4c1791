"""Adaptation of a timbre dictionary to the piano of a recording.

With the activations that the dictionary gives, the dictionary is estimated again by
:func:`harmnmf.nmf.solvers.decibel.factorize_decibel`. The prior mean is the dictionary itself,
filtered by the response r of the room::

    V ≈ Σ_kj W[f, k, j] (H R)[k, j, n],   W_dB = (r W₀)_dB + d[f, k],   d ~ Gaussian process

R is the decay of the room along time, if it is given. Some activations are wrong, and a free
dictionary would fit them. So the deviation d of a key is the same for all its timbres, and smooth,
with correlation lengths of half a semitone in frequency and four keys.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from harmnmf.device import resolve_device
from harmnmf.errors import ParameterError
from harmnmf.nmf.solvers.convolutive import NoteActivations, estimate_note_activations, room_bands
from harmnmf.nmf.solvers.decibel import DecibelOptions, factorize_decibel, smooth_basis
from harmnmf.nmf.solvers.reverberation import Reverberation
from harmnmf.signal.front_end import Spectrogram
from harmnmf.validation import check_number

from .timbre_dictionary import TimbreDictionary

__all__ = ["adapt_dictionary", "timbre_activations"]

# Semitones over which deviations correlate, in frequency and along the keyboard.
_FREQUENCY_LENGTH = 0.5
_KEY_LENGTH = 4.0
_MAX_ITER = 20


def adapt_dictionary(
    spectrogram: Spectrogram,
    dictionary: TimbreDictionary,
    *,
    sigma: float = 3.0,
    n_iter: int = 30,
    reverberation: Reverberation | None = None,
    device: str = "cpu",
) -> TimbreDictionary:
    """Adapt a dictionary to the piano of a recording.

    Parameters
    ----------
    spectrogram : Spectrogram
        Spectrogram of the recording by the dictionary's front end, in tune with the dictionary.
        Some minutes are enough; memory grows with the length.
    dictionary : TimbreDictionary
        Prior mean.
    sigma : float, default=3.0
        Standard deviation of the piano's spectra from the dictionary in dB (10 log₁₀ of
        magnitudes), positive.
    n_iter : int, default=30
        Number of iterations of the solver that estimates the activations.
    reverberation : Reverberation, optional
        Decay of the room along time. Default: none.
    device : str, default="cpu"
        PyTorch device.

    Returns
    -------
    TimbreDictionary
        Adapted dictionary, not rescaled: a key's gain is part of its deviation. Keys that are not
        activated follow their neighbours; silence changes nothing.

    Raises
    ------
    ParameterError
        If `sigma` is not positive, or spectrogram and dictionary have different bins.

    Notes
    -----
    The prior in decibels is that of T. Lu, "Harmonic Constraint in Music Spectrogram
    Reconstruction", 2021, there with independent bins.

    Examples
    --------
    >>> dictionary = TimbreDictionary.load("default")
    >>> noise = np.random.default_rng(0).normal(size=16000)
    >>> adapted = adapt_dictionary(dictionary.front_end.transform(noise), dictionary)
    >>> adapted.W.shape == dictionary.W.shape, np.array_equal(adapted.W, dictionary.W)
    (True, False)
    """
    if spectrogram.axis != dictionary.axis:
        raise ParameterError("the spectrogram and the dictionary have different bins")
    check_number("sigma", sigma, above=0, infinite=True)
    device = str(resolve_device(device))
    # Divergences depend on the level, and so would the weight of the prior relative to them.
    level = spectrogram.values.mean() if spectrogram.values.size else 0.0
    if not level > 0:
        return dictionary
    V = torch.from_numpy(spectrogram.values / level).to(device)
    W = torch.tensor(dictionary.W, device=device)
    played = estimate_note_activations(
        V,
        W,
        dictionary.n_attack,
        bands=room_bands(dictionary.axis, device),
        reverberation=reverberation,
        max_iter=n_iter,
    )
    axis = dictionary.axis.frequencies
    # A bin at 0 Hz is placed an octave below the next one.
    semitones = 12 * np.log2(np.maximum(axis, axis[axis > 0][0] / 2))
    positions = (torch.tensor(x, dtype=V.dtype) for x in (semitones, dictionary.pitches))
    bases = [
        smooth_basis(x, length).to(device)
        for x, length in zip(positions, (_FREQUENCY_LENGTH, _KEY_LENGTH), strict=True)
    ]
    options = DecibelOptions(
        estimate_E=False,
        estimate_H=False,
        sigma=sigma,
        bases=[*bases, W.new_ones(W.shape[2], 1)],
        max_iter=_MAX_ITER,
        tol=None,
    )
    prior = (played.response[:, None, None] * W)[..., None]
    H = timbre_activations(played, dictionary.n_attack)
    if reverberation is not None:
        H = reverberation.apply(H)
    deviation = factorize_decibel(V, prior, W.new_ones(1, *W.shape[1:]), H, options).deviation
    W = W * 10 ** (deviation / 10)
    metadata = {**dictionary.metadata, "adapted": True}
    return replace(dictionary, W=W.cpu().numpy(), metadata=metadata)


def timbre_activations(played: NoteActivations, n_attack: int) -> torch.Tensor:
    """Return the activations of all timbres, (n_pitches, n_timbres, n_frames).

    Each frame of an attack is a timbre, whose activations are those of the attack, delayed.

    Examples
    --------
    >>> A, S = torch.tensor([[1.0, 0.0, 2.0, 0.0]]), torch.tensor([[[5.0, 6.0, 7.0, 8.0]]])
    >>> played = NoteActivations(A, S, torch.ones(1), torch.empty(0), 20, False)
    >>> timbre_activations(played, n_attack=3)
    tensor([[[1., 0., 2., 0.],
             [0., 1., 0., 2.],
             [0., 0., 1., 0.],
             [5., 6., 7., 8.]]])
    """
    n_frames = played.A.shape[-1]
    attack = [torch.nn.functional.pad(played.A, (j, 0))[:, :n_frames] for j in range(n_attack)]
    return torch.cat([torch.stack(attack, dim=1), played.S], dim=1)
