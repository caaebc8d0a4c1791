# The public names, one `from .module import Name as Name` each: harmnmf/__init__.py loads
# them lazily from this file.
from .audio import Audio as Audio
from .audio import AudioInfo as AudioInfo
from .audio import audio_info as audio_info
from .audio import read_audio as read_audio
from .audio import stream_audio as stream_audio
from .audio import write_audio as write_audio
from .dictionary import TimbreDictionary as TimbreDictionary
from .dictionary import shipped_dictionaries as shipped_dictionaries
from .errors import AudioError as AudioError
from .errors import ConvergenceWarning as ConvergenceWarning
from .errors import FormatError as FormatError
from .errors import HarmnmfError as HarmnmfError
from .errors import NotFittedError as NotFittedError
from .errors import ParameterError as ParameterError
from .evaluation import Evaluation as Evaluation
from .evaluation import evaluate_files as evaluate_files
from .evaluation import evaluate_notes as evaluate_notes
from .factorization import HarmonicNMF as HarmonicNMF
from .harmonics import FrequencyAxis as FrequencyAxis
from .harmonics import HarmonicSeries as HarmonicSeries
from .learning import learn_from_notes as learn_from_notes
from .notefiles import read_notes as read_notes
from .notefiles import write_csv as write_csv
from .notefiles import write_midi as write_midi
from .notes import NoteList as NoteList
from .pitchnames import parse_pitch as parse_pitch
from .pitchnames import pitch_from_name as pitch_from_name
from .pitchnames import pitch_name as pitch_name
from .plotting import plot_activations as plot_activations
from .plotting import plot_dictionary as plot_dictionary
from .plotting import plot_transcription as plot_transcription
from .plotting import save_figure as save_figure
from .templates import harmonic_templates as harmonic_templates
from .transcription import Transcriber as Transcriber

__version__: str
