"""Crops of the same people, column by column, with a word above each."""

from collections.abc import Mapping, Sequence

import numpy as np

from dualhmr.camera import CROP_WIDTH
from dualhmr.rendering.pictures import blank, write_words
from dualhmr_training.pictures import Picture

_WORDS_HEIGHT = 26


def side_by_side(columns: Mapping[str, Sequence[Picture]]) -> Picture:
    """One picture of crops (256, 192, 3) by the words above their column; a row for each person."""
    stacked = [
        np.concatenate([write_words(blank(_WORDS_HEIGHT, CROP_WIDTH), words), *crops])
        for words, crops in columns.items()
    ]
    return np.concatenate(stacked, axis=1)
