"""Pseudonyms hide ids everywhere and change nothing else."""

import hashlib
import hmac

import numpy as np
import pandas as pd
import pytest

from kd_tfrs.data import Column, Schema, clean, pseudonymise, read_key, split
from kd_tfrs.errors import UserError

KEY = b"sixteen bytes or more"
SCHEMA = Schema(
    (
        Column("user_id", "user", "id"),
        Column("age", "user", "number"),
        Column("item_id", "item", "id"),
        Column("t", "event", "time"),
    )
)


def make(untimed=False, given=False):
    events = pd.DataFrame(
        {
            "user_id": np.repeat(np.arange(100, 140), 5),
            "item_id": [f"item-{n % 17}" for n in range(200)],
            "t": np.random.default_rng(0).integers(1, 50, 200),
        }
    )
    users = pd.DataFrame({"user_id": range(100, 140), "age": range(40)})
    schema = SCHEMA
    if untimed:
        schema = Schema(tuple(c for c in SCHEMA.columns if c.name != "t"))
    tables = {"train": events[:150], "test": events[150:]}
    return clean(tables if given else events, users, None, schema)


def expected(owner, value):
    digest = hmac.new(KEY, f"{owner}:{value}".encode(), hashlib.sha256)
    return digest.hexdigest()[:32]


@pytest.mark.parametrize("untimed", [False, True])
def test_ids_become_hmac_in_every_table(untimed):
    data = make(untimed, given=True)
    before = data.fingerprint()
    secret = pseudonymise(data, KEY)
    assert data.fingerprint() == before
    ages = dict(zip(data.users["user_id"], data.users["age"], strict=True))
    assert dict(
        zip(secret.users["user_id"], secret.users["age"], strict=True)
    ) == {expected("user", user): age for user, age in ages.items()}
    tables = {"events": (data.events, secret.events)}
    tables |= {
        name: (data.given_splits[name], secret.given_splits[name])
        for name in data.given_splits
    }
    for plain, hidden in tables.values():
        wanted = {
            (expected("user", user), expected("item", item))
            for user, item in zip(
                plain["user_id"], plain["item_id"], strict=True
            )
        }
        assert wanted == set(
            zip(hidden["user_id"], hidden["item_id"], strict=True)
        )
        assert len(plain) == len(hidden)


def test_the_order_of_rows_does_not_reveal_the_ids():
    secret = pseudonymise(make(untimed=True), KEY)
    for table, column in ((secret.users, "user_id"), (secret.items, "item_id")):
        assert table[column].is_monotonic_increasing
    assert secret.events["user_id"].is_monotonic_increasing


def test_splits_by_time_stay_the_same():
    data = make()
    plain, hidden = split(data).test, split(pseudonymise(data, KEY)).test
    wanted = {
        (expected("user", user), expected("item", item))
        for user, item in zip(plain["user_id"], plain["item_id"], strict=True)
    }
    assert wanted == set(zip(hidden["user_id"], hidden["item_id"], strict=True))


def test_one_side_only():
    data = make()
    secret = pseudonymise(data, KEY, columns=("item",))
    assert secret.users["user_id"].tolist() == data.users["user_id"].tolist()
    assert set(secret.items["item_id"]).isdisjoint(data.items["item_id"])


def test_another_key_or_owner_gives_other_pseudonyms():
    data = make()
    one = set(pseudonymise(data, KEY).users["user_id"])
    assert one == set(pseudonymise(data, KEY).users["user_id"])
    assert one.isdisjoint(pseudonymise(data, KEY[::-1]).users["user_id"])
    assert expected("user", 1) != expected("item", 1)


def test_key_comes_from_file_or_environment(tmp_path, monkeypatch):
    path = tmp_path / "key"
    path.write_bytes(KEY + b"\n")
    assert read_key(path) == KEY
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_key("~/key") == KEY
    monkeypatch.setenv("KD_TFRS_PSEUDONYM_KEY", KEY.decode())
    assert read_key() == KEY


def test_invalid_arguments_raise(tmp_path, monkeypatch):
    monkeypatch.delenv("KD_TFRS_PSEUDONYM_KEY", raising=False)
    (tmp_path / "short").write_bytes(b"short")
    for call, message in (
        (lambda: read_key(), "KD_TFRS_PSEUDONYM_KEY"),
        (lambda: read_key(tmp_path / "none"), "readable"),
        (lambda: read_key(tmp_path / "short"), "5 bytes"),
        (lambda: pseudonymise(make(), "a string of letters"), "bytes"),
        (lambda: pseudonymise(make(), b"short"), "at least 16"),
        (lambda: pseudonymise(make(), KEY, ("event",)), "user, item or both"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)
