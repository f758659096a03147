"""Requests: who comes when, with which device, for which task, and which of them the log keeps."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sample_data.world import DEVICES, World

TASKS = ("homepage", "related", "search", "notification")
SLOTS = np.array([12, 8, 10, 3])
KEEP = np.array([0.20, 0.25, 0.35, 0.50])  # keep probability by task: the stratum
ENVIRONMENTS = ("eu-1", "us-1", "ap-1")
_PLACE = np.array([1, 0, 0, 2, 0, 1])  # environment of each country
SALT = b"sample"


@dataclass(frozen=True, eq=False)
class Traffic:
    """Requests in the order of time; arrays of shape (requests,), codes as in the lists of this module and of `world`.

    Attributes
    ----------
    at : array of float
        Days after the start of the log.
    member : array of int
        -1 = anonymous.
    who : array of int
        The person behind it, anonymous or not.
    """

    request_id: NDArray[np.object_]
    at: NDArray[np.float64]
    who: NDArray[np.int64]
    member: NDArray[np.int64]
    task: NDArray[np.int64]
    device: NDArray[np.int64]
    country: NDArray[np.int64]
    profile: NDArray[np.int64]
    version: NDArray[np.int64]
    layout: NDArray[np.int64]
    query_genre: NDArray[np.int64]
    seed_item: NDArray[np.int64]
    since_last: NDArray[np.float64]
    keep: NDArray[np.float64]

    def __len__(self) -> int:
        """How many."""
        return len(self.at)

    @property
    def environment(self) -> NDArray[np.int64]:
        """Code of the deployment that answers."""
        return _PLACE[self.country]

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Traffic:
        """Some of them."""
        return Traffic(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


def make_traffic(world: World, seed: int, *, requests: int, days: int, first_day: float = 0.0, stage: int = 2) -> Traffic:
    """The full traffic of which the log keeps about `requests`."""
    rng = np.random.default_rng([seed, stage])
    mix = np.array([0.5, 0.22, 0.18, 0.10])
    total = int(requests / (mix * KEEP).sum())
    at = np.sort(first_day + _times(rng, total, days))
    who = rng.choice(len(world.activity), total, p=world.activity / world.activity.sum())
    anonymous = rng.random(total) < 0.05
    own = rng.random(total) < 0.75
    ids = _ids(seed, stage, total)
    task = rng.choice(4, total, p=mix)
    rollout = np.clip((at - first_day) / max(days, 1), 0, 1)
    return Traffic(
        request_id=ids,
        at=at,
        who=who,
        member=np.where(anonymous, -1, who),
        task=task,
        device=np.where(own, world.device[who], rng.integers(0, len(DEVICES), total)),
        country=world.country[who],
        profile=world.profile[who],
        version=(rng.random(total) < 0.15 + 0.7 * rollout).astype(np.int64) + (rng.random(total) < 0.1),
        layout=(who * 2654435761 % 97 < 48).astype(np.int64),
        query_genre=rng.integers(0, world.taste.shape[1], total),
        seed_item=rng.integers(0, len(world.genre), total),
        since_last=np.round(rng.exponential(2.5, total), 2),
        keep=KEEP[task],
    )


def kept(traffic: Traffic) -> NDArray[np.bool_]:
    """Which requests the log keeps: those whose hashed id falls below their keep probability."""
    return hashed(traffic.request_id) < traffic.keep


def hashed(ids: NDArray[np.object_]) -> NDArray[np.float64]:
    """Each id as a number in [0, 1), by blake2b with a salt."""
    digest = b"".join(hashlib.blake2b(str(i).encode(), digest_size=8, key=SALT).digest() for i in ids)
    return (np.frombuffer(digest, dtype=">u8") >> 11).astype(np.float64) / 2.0**53


def _times(rng: np.random.Generator, n: int, days: int) -> NDArray[np.float64]:
    """Times in days with a daily and a weekly rhythm: evenings and weekends are busy."""
    hours = np.arange(days * 24)
    daily = 1.0 + 0.75 * np.sin((hours % 24 - 14) / 24 * 2 * np.pi) + 0.25 * np.sin((hours % 24 - 9) / 12 * 2 * np.pi)
    weekly = np.where((hours // 24) % 7 >= 5, 1.25, 1.0)
    weight = daily * weekly
    return (rng.choice(len(hours), n, p=weight / weight.sum()) + rng.random(n)) / 24.0


def _ids(seed: int, stage: int, n: int) -> NDArray[np.object_]:
    mixed = (np.arange(n, dtype=np.uint64) + np.uint64((seed * 8 + stage) << 32)) * np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(29)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(32)
    return np.array([f"{int(value):016x}" for value in mixed], dtype=object)
