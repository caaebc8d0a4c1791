"""Adaptation of a timbre dictionary to the piano that plays in a recording.

The activations that the dictionary gives are taken for true, and the dictionary is estimated anew
from them by :func:`harmnmf.nmf.solvers.decibel.factorize_decibel`, with itself, seen through the
response r of the room, as the prior mean::

    V ≈ Σ_kj W[f, k, j] H[k, j, n],   W_dB = (r W₀)_dB + d[f, k],   d ~ Gaussian process

The activations hold ghosts, which a free dictionary would make real. So the deviation d of a key
is the same for all its timbres, and smooth: it correlates over half a semitone in frequency and
four keys. What all keys around a frequency have in common (a mode of the soundboard or the room,
the place of the microphone) is learned, and the spectra of neighbouring notes are not mixed up.
"""

from __future__ import annotations

import numpy as np
import torch

from harmnmf.errors import ParameterError
from harmnmf.nmf.solvers.convolutive import NoteActivations, estimate_note_activations, room_bands
from harmnmf.nmf.solvers.decibel import factorize_decibel, smooth_basis
from harmnmf.signal.spectrogram import Spectrogram

from .timbre_dictionary import TimbreDictionary

__all__ = ["adapt_dictionary"]

# Semitones over which deviations correlate, in frequency and along the keyboard.
_FREQUENCY_LENGTH = 0.5
_KEY_LENGTH = 4.0
_N_ITER = 20


def adapt_dictionary(
    spectrogram: Spectrogram,
    dictionary: TimbreDictionary,
    *,
    sigma: float = 3.0,
    n_iter: int = 30,
    device: str = "cpu",
) -> TimbreDictionary:
    """Adapt a dictionary to the piano that plays in a recording.

    Parameters
    ----------
    spectrogram : Spectrogram
        Of the recording, made by the dictionary's front end, in tune with the dictionary. Some
        minutes say all there is to learn; memory grows with the length.
    dictionary : TimbreDictionary
        The prior mean.
    sigma : float, default=3.0
        Standard deviation of the piano's spectra about the dictionary in dB (10 log₁₀ of
        magnitudes), positive. With 2 the scores below are the same.
    n_iter : int, default=30
        Iterations of the solver that estimates the activations.
    device : str, default="cpu"
        Where to compute, a PyTorch device.

    Returns
    -------
    TimbreDictionary
        Adapted. It is not scaled anew, which costs notes: a key's gain belongs to its deviation.
        Keys that are not activated move with their neighbours only, and silence moves nothing.

    Raises
    ------
    ParameterError
        If `sigma` is not positive, or the spectrogram has other bins than the dictionary.

    Notes
    -----
    ``benchmarks/transcription.py`` prints what adaptation brings on real recordings, 0.01 to 0.02
    of the onset-only note F. The lengths of correlation were chosen on these recordings, so that
    this is optimistic.

    References
    ----------
    .. [1] T. Lu, "Harmonic Constraint in Music Spectrogram Reconstruction", 2021: the prior in
       decibels, there for each bin by itself.

    Examples
    --------
    >>> from harmnmf import read_audio
    >>> dictionary = TimbreDictionary.load("default")
    >>> noise = np.random.default_rng(0).normal(size=16000)
    >>> adapted = adapt_dictionary(dictionary.front_end.transform(noise), dictionary)
    >>> adapted.W.shape == dictionary.W.shape, np.array_equal(adapted.W, dictionary.W)
    (True, False)
    """
    if spectrogram.axis != dictionary.axis:
        raise ParameterError("the spectrogram and the dictionary have different bins")
    if not sigma > 0:
        raise ParameterError(f"sigma must be positive, not {sigma}")
    # Divergences grow with the level, which must not matter beside the prior.
    level = spectrogram.values.mean() if spectrogram.values.size else 0.0
    if not level > 0:
        return dictionary
    V = torch.from_numpy(spectrogram.values / level).to(device)
    W = torch.tensor(dictionary.W, device=device)
    played = estimate_note_activations(
        V, W, dictionary.n_attack, bands=room_bands(dictionary.axis, device), n_iter=n_iter
    )
    axis = dictionary.axis.frequencies
    # The frequency of 0 Hz, where there is one, is as far below the next bin as that is high.
    semitones = 12 * np.log2(np.maximum(axis, axis[axis > 0][0] / 2))
    positions = (torch.tensor(x, dtype=V.dtype) for x in (semitones, dictionary.pitches))
    bases = [
        smooth_basis(x, length).to(device)
        for x, length in zip(positions, (_FREQUENCY_LENGTH, _KEY_LENGTH), strict=True)
    ]
    n_timbres = W.shape[2]
    deviation = factorize_decibel(
        V,
        (played.response[:, None, None] * W)[..., None],
        W.new_ones(1, *W.shape[1:]),
        H=_roll(played, dictionary.n_attack),
        estimate_E=False,
        estimate_H=False,
        sigma=sigma,
        bases=[*bases, W.new_ones(n_timbres, 1)],
        n_iter=_N_ITER,
        tol=None,
    ).deviation
    W = W * 10 ** (deviation / 10)
    return TimbreDictionary(
        W.cpu().numpy(),
        dictionary.pitches,
        dictionary.front_end,
        dictionary.n_attack,
        dictionary.attack_lead,
        {**dictionary.metadata, "adapted": True},
    )


def _roll(played: NoteActivations, n_attack: int) -> torch.Tensor:
    """Write attacks out: each frame of an attack is a timbre of its own, moved in time."""
    n_frames = played.A.shape[-1]
    attack = [torch.nn.functional.pad(played.A, (j, 0))[:, :n_frames] for j in range(n_attack)]
    return torch.cat([torch.stack(attack, dim=1), played.S], dim=1)
