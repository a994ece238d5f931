"""The planted tastes of users and items of the synthetic data."""

from __future__ import annotations

import numpy as np
import pandas as pd

from kd_tfrs.data.synthetic import titles

COUNTRIES = ("AR", "BR", "DE", "FR", "GB", "IN", "JP", "KE", "NG", "US")
DEVICES = ("phone", "tablet", "television", "web")

_YEAR_SECONDS = 365 * 86_400
_START = 1_577_836_800  # 2020-01-01
_SPAN = 3 * _YEAR_SECONDS
# The spread of a user's affinity over the items, in logits; log popularity
# spreads by less than 1, so taste outweighs it.
_AFFINITY = 2.8
_ZIPF_EXPONENT = 1.3
# Items of a niche have similar tastes, and a user chooses most items from a few
# niches. There are more niches than dimensions of a narrow embedding.
_ITEMS_PER_NICHE = 36
_NICHES_OF_A_USER = 3
# Popularity of niches: the chance of the r-th is in proportion to
# (r + shift) ** -exponent.
_NICHE_EXPONENT, _NICHE_SHIFT = 0.9, 5
# Lengths of the parts of a taste, relative to its niches.
_GENRE_SHARE, _OWN_SHARE = 0.5, 0.6


class World:
    """The planted tastes of all users and items.

    Args:
        num_users: users.
        num_items: items.
        dim: width of the tastes.
        rng: source of randomness.
    """

    def __init__(
        self,
        num_users: int,
        num_items: int,
        dim: int,
        rng: np.random.Generator,
    ) -> None:
        self._plant_items(num_items, dim, rng)
        self._plant_users(num_users, dim, rng)

    def _plant_items(
        self, num_items: int, dim: int, rng: np.random.Generator
    ) -> None:
        genres = len(titles.GENRES)
        self.centres = _normal(rng, genres, dim)
        self.main_genre = rng.integers(0, genres, num_items)
        second = rng.integers(0, genres, num_items)
        self.second_genre = np.where(
            rng.random(num_items) < 0.5, second, self.main_genre
        )
        mixed = self.centres[self.main_genre] + self.centres[self.second_genre]
        count = max(1, num_items // _ITEMS_PER_NICHE)
        self.niches = _unit(_normal(rng, count, dim))
        niche = rng.integers(0, count, num_items)
        own = _unit(_normal(rng, num_items, dim))
        self.item_taste = _unit(
            self.niches[niche] + _GENRE_SHARE * _unit(mixed) + _OWN_SHARE * own
        )
        self.item_taste_by_dim = np.ascontiguousarray(self.item_taste.T)
        rank = rng.permutation(num_items) + 1.0
        log_popularity = -_ZIPF_EXPONENT * np.log(rank + 0.01 * num_items)
        # A third of the catalogue is released while the users are active.
        age = rng.uniform(-15.0, 0.0, num_items) * _YEAR_SECONDS
        fresh = rng.random(num_items) < 0.33
        age = np.where(fresh, rng.uniform(0, 0.9, num_items) * _SPAN, age)
        self.release = (_START + age).astype(np.int64)
        recency = 0.4 * np.maximum(age, -_YEAR_SECONDS) / _YEAR_SECONDS
        self.bias = (log_popularity + recency).astype(np.float32)
        self.title_order = rng.permutation(num_items)

    def _plant_users(
        self, num_users: int, dim: int, rng: np.random.Generator
    ) -> None:
        self.age = np.clip(rng.gamma(6.0, 6.0, num_users), 13, 90).astype(int)
        self.country = rng.integers(0, len(COUNTRIES), num_users)
        self.device = rng.integers(0, len(DEVICES), num_users)
        lean = (
            _normal(rng, 8, dim)[np.minimum(self.age // 10, 7)]
            + _normal(rng, len(COUNTRIES), dim)[self.country]
            + 0.5 * _normal(rng, len(DEVICES), dim)[self.device]
        )
        loved = rng.integers(0, len(self.centres), (2, num_users))
        loved_centres = self.centres[loved].sum(axis=0)
        own = _unit(_normal(rng, num_users, dim))
        self.user_taste = _unit(
            self._niches_of_users(num_users, rng)
            + _GENRE_SHARE * _unit(lean)
            + _GENRE_SHARE * _unit(loved_centres)
            + _OWN_SHARE * own
        )
        self.user_taste *= np.float32(_AFFINITY * np.sqrt(dim))
        self.drift = _unit(_normal(rng, num_users, dim) + 0.5 * loved_centres)
        start = rng.uniform(0.0, 0.75, num_users)
        end = start + rng.uniform(0.2, 1.0, num_users) * (1.0 - start)
        self.first = (_START + start * _SPAN).astype(np.int64)
        self.last = (_START + end * _SPAN).astype(np.int64)

    def _niches_of_users(
        self, num_users: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Sums of each user's preferred niches, `[users, dim]`."""
        count = len(self.niches)
        chance = (np.arange(count) + 1.0 + _NICHE_SHIFT) ** -_NICHE_EXPONENT
        chosen = rng.choice(
            count, (_NICHES_OF_A_USER, num_users), p=chance / chance.sum()
        )
        return self.niches[chosen].sum(axis=0)

    def users(self) -> pd.DataFrame:
        """Gives the users table, `[users, 4]`."""
        return pd.DataFrame(
            {
                "user_id": np.arange(1, len(self.age) + 1),
                "age": self.age,
                "country": np.array(COUNTRIES)[self.country],
                "device": np.array(DEVICES)[self.device],
            }
        )

    def items(self) -> pd.DataFrame:
        """Gives the items table, `[items, 4]`."""
        released = pd.to_datetime(self.release, unit="s")
        return pd.DataFrame(
            {
                "item_id": np.arange(1, len(self.release) + 1),
                "title": titles.invent(self.main_genre, self.title_order),
                "genres": titles.genre_cells(
                    self.main_genre, self.second_genre
                ),
                "release_year": released.year.to_numpy(np.int64),
            }
        )


def _normal(rng: np.random.Generator, rows: int, dim: int) -> np.ndarray:
    return rng.standard_normal((rows, dim), dtype=np.float32)


def _unit(vectors: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / norm).astype(np.float32)
