"""What `harmnmf enhance` does to each recording."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import click

from harmnmf.batch.task import Progress, Task

if TYPE_CHECKING:
    import numpy as np

    from harmnmf.enhancement.deep_prior import DeepPrior
    from harmnmf.enhancement.enhancer import Enhancer

# A longer picture is too crowded to read.
PLOTTED_SECONDS = 60.0


@dataclass(frozen=True)
class DeepPriorFit:
    """Enhancement by the deep prior, with the parameters of `DeepPrior`."""

    convolution: str
    n_steps: int
    seed: int
    device: str

    def prepare(self) -> None:
        """Check the parameters."""
        self._prior()

    def __call__(self, task: Task, progress: Progress) -> str:
        """Fit a recording, and go on from a checkpoint beside its output if there is one."""
        from harmnmf.signal.audio import read_audio, write_audio

        path = task.outputs[0]
        noisy = read_audio(task.source, mono=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        checkpoint = path.with_name(f"{path.name}.checkpoint.safetensors")
        try:
            enhanced = self._prior().enhance(noisy, checkpoint=checkpoint, progress=progress)
            write_audio(path, enhanced)
            # Not before: an hour's work shall outlive a disk that is full.
            checkpoint.unlink()
        except KeyboardInterrupt:
            click.echo(f"{checkpoint}: the same command goes on from here", err=True)
            raise
        _plot(task)
        return f"{noisy.duration:.1f} s"

    def _prior(self) -> DeepPrior:
        from harmnmf.enhancement.deep_prior import DeepPrior

        return DeepPrior(**asdict(self))


@dataclass(frozen=True)
class NetworkEnhancement:
    """Enhancement by a trained network, in blocks."""

    model: str
    dry: float
    attenuation_limit: float | None
    device: str
    # Whether what is taken away is an output, too.
    separated: bool

    def prepare(self) -> None:
        """Load the network."""
        load_enhancer(self)

    def __call__(self, task: Task, progress: Progress) -> str:
        """Enhance a recording: the first output; what is left is the second if both are wanted."""
        from harmnmf.signal.audio import audio_info, stream_audio, write_blocks

        path = task.outputs[0]
        rate = audio_info(task.source).sample_rate
        path.parent.mkdir(parents=True, exist_ok=True)
        seconds = 0.0

        def followed(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
            nonlocal seconds
            for block in blocks:
                yield block
                seconds += block.shape[-1] / rate
                progress(seconds)

        noisy = stream_audio(task.source, mono=False)
        write_blocks(path, followed(load_enhancer(self).enhance_blocks(noisy, rate)), rate)
        if self.separated:
            parts = (stream_audio(name, mono=False) for name in (task.source, path))
            pairs = zip(*parts, strict=True)
            write_blocks(task.outputs[1], (whole - voice for whole, voice in pairs), rate)
        _plot(task)
        return f"{seconds:.1f} s"


@lru_cache(maxsize=1)
def load_enhancer(work: NetworkEnhancement) -> Enhancer:
    """Load the network of this work, once in a process."""
    from harmnmf.enhancement.enhancer import Enhancer

    limit = work.attenuation_limit
    recommended = {} if limit is None else {"attenuation_limit": limit}
    return Enhancer.load(work.model, dry=work.dry, device=work.device, **recommended)


def _plot(task: Task) -> None:
    """Draw a recording before and after, if a picture is asked for."""
    enhanced, picture = task.outputs[0], task.outputs[-1]
    if picture.suffix != ".png":
        return
    from harmnmf.plotting.figures import plot_before_after, save_figure
    from harmnmf.signal.audio import read_audio
    from harmnmf.signal.spectrogram import STFT

    sounds = [read_audio(path, duration=PLOTTED_SECONDS) for path in (task.source, enhanced)]
    n_fft = 2 * round(0.016 * sounds[0].sample_rate)
    front_end = STFT(sounds[0].sample_rate, hop_length=n_fft // 2, n_fft=n_fft)
    figure = plot_before_after(
        *(front_end.transform(sound.samples) for sound in sounds),
        title=click.format_filename(task.source.name),
    )
    save_figure(figure, picture)
