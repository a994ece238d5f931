"""The hidden click model of the synthetic impressions."""

from __future__ import annotations

import numpy as np

AGES = ("under 18", "18-24", "25-34", "35-49", "50-64", "65 and over")
COUNTRIES = ("AR", "BR", "DE", "FR", "IN", "JP", "KE", "US")
DEVICES = ("phone", "tablet", "web")
CATEGORIES = (
    "art",
    "beauty",
    "books",
    "cars",
    "film",
    "food",
    "games",
    "garden",
    "home",
    "kids",
    "music",
    "news",
    "pets",
    "sport",
    "tech",
    "travel",
)
_GROUPS = 4  # of categories
_DAYPARTS = 4  # of six hours
_BRANDS = 40
_START = 1_672_531_200  # 2023-01-01
_SPAN_SECONDS = 30 * 86_400
# Standard deviations of the terms of a logit.
_TASTE = 1.0
_PAIR = 0.5
_TRIPLE = 0.4
_QUALITY = 0.4
_ACTIVITY = 0.4
_PRICE = 0.4
_POSITION = 0.35  # decrease of the logit by each doubling of the position


class ClickWorld:
    """Users, items and the terms of the hidden logits.

    Args:
        num_users: users.
        num_items: items.
        dim: width of the tastes.
        rng: source of randomness.
    """

    # Rates of clicks, and of likes if all items were clicked. Clicked items fit
    # the user's taste, so their rate of likes is higher.
    rates = (0.2, 0.2)

    def __init__(
        self,
        num_users: int,
        num_items: int,
        dim: int,
        rng: np.random.Generator,
    ) -> None:
        self._plant_items(num_items, dim, rng)
        self._plant_users(num_users, dim, rng)
        shapes = {
            "age": (len(AGES), len(CATEGORIES)),
            "device": (len(DEVICES), len(CATEGORIES)),
            "daypart": (len(COUNTRIES), _DAYPARTS, _GROUPS),
            "like_age": (len(AGES), len(CATEGORIES)),
        }
        self._terms = {
            name: _normal(rng, *shape) for name, shape in shapes.items()
        }
        self._sensitivity = _normal(rng, len(AGES)) * np.float32(_PRICE)

    def _plant_items(
        self, num_items: int, dim: int, rng: np.random.Generator
    ) -> None:
        self.category = rng.integers(0, len(CATEGORIES), num_items)
        self.brand = rng.integers(0, _BRANDS, num_items)
        log_price = rng.normal(self.category % 3, 0.7)
        self.price = 10.0 * np.exp(log_price)
        self._scaled_price = np.float32(
            (log_price - log_price.mean()) / log_price.std()
        )
        centres = _normal(rng, len(CATEGORIES), dim)
        own = _normal(rng, num_items, dim)
        self._item_taste = _rows_of_length_one(centres[self.category] + own)
        brand_quality = _normal(rng, _BRANDS)
        self._quality = np.float32(_QUALITY) * (
            brand_quality[self.brand] + _normal(rng, num_items)
        )
        rank = rng.permutation(num_items) + 1.0
        self._popularity = (rank + 0.02 * num_items) ** -0.9
        # Some items are released later than others.
        late = rng.random(num_items) < 0.3
        late[0] = False
        self._release = np.where(late, rng.uniform(0.2, 1.0, num_items), 0.0)

    def _plant_users(
        self, num_users: int, dim: int, rng: np.random.Generator
    ) -> None:
        self.age = rng.integers(0, len(AGES), num_users)
        self.country = rng.integers(0, len(COUNTRIES), num_users)
        lean = _normal(rng, len(AGES), dim)[self.age]
        lean = lean + _normal(rng, len(COUNTRIES), dim)[self.country]
        own = _normal(rng, num_users, dim)
        # The product with an item has the standard deviation `_TASTE`.
        self._user_taste = _rows_of_length_one(0.6 * lean + own)
        self._user_taste *= np.float32(_TASTE * np.sqrt(dim))
        self._activity = np.float32(_ACTIVITY) * _normal(rng, num_users)
        self._visits = rng.lognormal(0.0, 0.8, num_users)
        late = rng.random(num_users) < 0.15
        self._joined = np.where(late, rng.uniform(0, 0.95, num_users), 0.0)
        self._device = rng.integers(0, len(DEVICES), num_users)

    def category_names(self) -> np.ndarray:
        """`[items]` names of the items' categories."""
        return np.array(CATEGORIES)[self.category]

    def show(
        self, num_events: int, slate_size: int, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Draws impressions: users, items, times, positions and devices.

        Args:
            num_events: number of impressions.
            slate_size: number of items shown at one moment.
            rng: source of randomness.

        Returns:
            `user`, `item` (int32), `time` (seconds since 1970), `position`
            (int16, from 1) and `device` (int8), each `[num_events]` in order
            of time.
        """
        visits = -(-num_events // slate_size)
        num_users = len(self.age)
        # Every user visits at least once if there are enough visits.
        user = np.concatenate(
            [
                rng.permutation(num_users)[:visits],
                _draw(self._visits, max(0, visits - num_users), rng),
            ]
        )
        joined = self._joined[user]
        share = joined + rng.random(visits) * (1.0 - joined)
        order = np.argsort(share, kind="stable")
        user, share = user[order], share[order]
        drawn = rng.integers(0, len(DEVICES), visits)
        usual = rng.random(visits) < 0.8
        device = np.where(usual, self._device[user], drawn).astype(np.int8)
        time = _START + (share * _SPAN_SECONDS).astype(np.int64)
        slate = {"user": user.astype(np.int32), "time": time, "device": device}
        shown = {
            name: np.repeat(values, slate_size)[:num_events]
            for name, values in slate.items()
        }
        places = np.arange(1, slate_size + 1, dtype=np.int16)
        shown["position"] = np.tile(places, visits)[:num_events]
        share = np.repeat(share.astype(np.float32), slate_size)[:num_events]
        return shown | {"item": self._items(share, rng)}

    def _items(self, share: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        item = _draw(self._popularity, len(share), rng)
        early = np.flatnonzero(self._release[item] > share)
        # Items before their release are replaced by items of the first day.
        old = self._popularity * (self._release == 0.0)
        item[early] = _draw(old, len(early), rng)
        return item.astype(np.int32)

    def logits(
        self, shown: dict[str, np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Hidden logits of clicks, and of likes given a click, without biases.

        Args:
            shown: `[n]` impressions, see `show`.

        Returns:
            Two float32 arrays, `[n]`.
        """
        user, item = shown["user"], shown["item"]
        age, category = self.age[user], self.category[item]
        daypart = shown["time"] // 21_600 % _DAYPARTS
        taste = np.einsum(
            "nd,nd->n", self._user_taste[user], self._item_taste[item]
        )
        terms = self._terms
        click = taste + self._quality[item] + self._activity[user]
        click += _PAIR * terms["age"][age, category]
        click += _PAIR * terms["device"][shown["device"], category]
        click += (
            _TRIPLE
            * terms["daypart"][self.country[user], daypart, category % _GROUPS]
        )
        click -= self._sensitivity[age] * self._scaled_price[item]
        click -= np.float32(_POSITION) * np.log2(shown["position"])
        like = taste + 2 * self._quality[item]
        like += _PAIR * terms["like_age"][age, category]
        return click, like


def _normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape, dtype=np.float32)


def _rows_of_length_one(vectors: np.ndarray) -> np.ndarray:
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / norm).astype(np.float32)


def _draw(
    weight: np.ndarray, size: int, rng: np.random.Generator
) -> np.ndarray:
    """`[size]` numbers in proportion to their weights, with repetition."""
    edges = np.cumsum(weight)
    drawn = np.searchsorted(edges, rng.random(size) * edges[-1], side="right")
    # Rounding may put a draw on the last edge itself.
    return np.minimum(drawn, np.flatnonzero(weight)[-1])
