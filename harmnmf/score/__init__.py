"""Scores from notes: beats, bars, hands, keys, and their engraving.

Positions and durations in a score are integers: :data:`~harmnmf.score.bars.TICKS` ticks a quarter.
"""
