"""Readable titles and genres of the synthetic items."""

from __future__ import annotations

import numpy as np
import pandas as pd

_NOUNS = {
    "Adventure": "Compass Caravan River Summit Voyage Lagoon Expedition Map",
    "Animation": "Kitten Balloon Robot Puppet Dragonfly Teapot Pebble Snail",
    "Biography": "Painter Surgeon Chancellor Pianist Pilot Sculptor Poet Queen",
    "Comedy": "Wedding Landlord Picnic Cousin Umbrella Dentist Parrot Elevator",
    "Crime": "Alibi Heist Ledger Witness Informer Vault Verdict Motive",
    "Documentary": "Glacier Orchard Reef Harvest Railway Desert Bakery Archive",
    "Drama": "Harbour Letter Silence Daughter Promise Winter House Mirror",
    "Family": "Treehouse Grandmother Puppy Snowman Kite Garden Bicycle Circus",
    "Fantasy": "Wizard Unicorn Kingdom Amulet Griffin Crown Spell Oracle",
    "History": "Empire Treaty Regiment Cathedral Revolt Armada Senate Frontier",
    "Horror": "Crypt Shadow Attic Scream Asylum Raven Curse Cellar",
    "Music": "Violin Anthem Melody Drummer Ballad Encore Opera Trumpet",
    "Mystery": "Riddle Cipher Lighthouse Key Stranger Photograph Island Clock",
    "Romance": "Kiss Rose Serenade Bride Balcony Waltz Sweetheart Summer",
    "Science": "Galaxy Android Orbit Comet Colony Reactor Signal Starship",
    "Western": "Saloon Sheriff Canyon Mustang Outlaw Stagecoach Ranch Prairie",
}
GENRES = tuple(_NOUNS)

_ADJECTIVES = tuple(
    word
    for line in (
        "Silent Golden Broken Hidden Crimson Distant Gentle Frozen Burning",
        "Forgotten Little Last First Restless Wild Lonely Velvet Hollow",
        "Bright Stolen Secret Midnight Paper Iron Wandering Curious Patient",
        "Scarlet Northern Southern Emerald Sleeping Electric Borrowed",
        "Second Singing Crooked Quiet Lucky Blue",
    )
    for word in line.split()
)
_PATTERNS = (
    "The {adjective} {noun}",
    "{adjective} {noun}",
    "A {adjective} {noun}",
    "Return of the {adjective} {noun}",
    "Beyond the {adjective} {noun}",
)


def invent(genre: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Generates a unique title per item, with a noun of its genre.

    Args:
        genre: `[items]` index into `GENRES`.
        order: `[items]` a permutation, so that neighbours have different
            titles.

    Returns:
        An object array of strings, `[items]`.

    Example:
    >>> invent(np.array([9]), np.array([0])).tolist()
    ['The Silent Empire']
    """
    nouns = np.array([words.split() for words in _NOUNS.values()], object)
    # The n-th item of a genre has the n-th combination of its words.
    shuffled = pd.Series(genre[order])
    number = np.empty(len(genre), np.int64)
    number[order] = shuffled.groupby(shuffled).cumcount().to_numpy()
    rest, noun = np.divmod(number, nouns.shape[1])
    # Stepping by the noun as well keeps neighbours from sharing an adjective.
    rest, adjective = np.divmod(rest, len(_ADJECTIVES))
    adjective = (adjective + 5 * noun) % len(_ADJECTIVES)
    volume, pattern = np.divmod(rest, len(_PATTERNS))
    return np.array(
        [
            _PATTERNS[p].format(adjective=_ADJECTIVES[a], noun=word)
            + (f" {v + 1}" if v else "")
            for p, a, word, v in zip(
                pattern, adjective, nouns[genre, noun], volume, strict=True
            )
        ],
        object,
    )


def genre_cells(main: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Joins the genres of each item by "|".

    Args:
        main: `[items]` index into `GENRES`.
        second: `[items]` another index, or the same for one genre only.

    Returns:
        An object array of strings, `[items]`.

    Example:
    >>> genre_cells(np.array([3, 3]), np.array([6, 3])).tolist()
    ['Comedy|Drama', 'Comedy']
    """
    names = np.array(GENRES, object)
    joined = names[main] + "|" + names[second]
    return np.where(main == second, names[main], joined)
