"""Requests: who comes when, with which device, for which task, and which of them the log keeps."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sample_data.chance import Keys, exponential, mixed, one_of, uniform
from sample_data.world import COUNTRIES, DEVICES, World

TASKS = ("homepage", "related", "search", "notification")
MIX = np.array([0.5, 0.22, 0.18, 0.10])
SLOTS = np.array([12, 8, 10, 3])
KEEP = np.array([0.20, 0.25, 0.35, 0.50])  # keep probability by task: the stratum
ENVIRONMENTS = ("eu-1", "us-1", "ap-1", "sa-1")
APP_VERSIONS = ("8.1", "8.2", "8.3")
LAYOUTS = ("a", "b")
PROFILES = ("adult", "kids")
_PLACE = np.array([1, 0, 0, 2, 0, 3])  # environment of each country
SALT = b"sample"


@dataclass(frozen=True, eq=False)
class Traffic:
    """Requests in the order of time; arrays of shape (requests,), codes as in the lists of this module and of `world`.

    Attributes
    ----------
    key : array of uint64
        What the request id is written from, and every chance of the request drawn from.
    at : array of float
        Days after the start of the log.
    member : array of int
        -1 = anonymous.
    who : array of int
        The person behind it, anonymous or not.
    keep : array of float
        Keep probability as the log gives it.
    """

    key: Keys
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
    def request_id(self) -> NDArray[np.object_]:
        """Ids of the requests."""
        return np.array([f"{value:016x}" for value in self.key.tolist()], dtype=object)

    @property
    def environment(self) -> NDArray[np.int64]:
        """Code of the deployment that answers: the near one, for one request in seven another."""
        return np.where(uniform(self.key, 32) < 0.15, one_of(self.key, 33, [1.0, 1.0, 1.0, 1.0]), _PLACE[self.country])

    def attribute(self, name: str) -> NDArray[np.object_]:
        """An attribute as the log spells it; an experiment's arm is ``experiments.<name>``."""
        words, codes = {
            "task": (TASKS, self.task),
            "device": (DEVICES, self.device),
            "country": (COUNTRIES, self.country),
            "environment": (ENVIRONMENTS, self.environment),
            "app_version": (APP_VERSIONS, self.version),
            "profile": (PROFILES, self.profile),
            "experiments.layout": (LAYOUTS, self.layout),
        }[name]
        said: NDArray[np.object_] = np.array(words, dtype=object)[codes]
        return said

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Traffic:
        """Some of them."""
        return Traffic(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})

    def by(self, world: World, who: NDArray[np.int64]) -> Traffic:
        """The same requests, made by other people on their own devices."""
        return replace(
            self,
            who=who,
            member=np.where(self.member < 0, -1, who),
            device=np.where(uniform(self.key, 20) < 0.75, world.device[who], self.device),
            country=world.country[who],
            profile=world.profile[who],
            layout=_layout(who),
        )


def make_traffic(world: World, seed: int, *, requests: int, days: int, first_day: float = 0.0, stage: int = 2) -> Traffic:
    """The full traffic of which the log keeps about `requests`."""
    total = int(requests / (MIX * KEEP).sum())
    key = mixed(np.arange(total, dtype=np.uint64) + (np.uint64(seed * 64 + stage) << np.uint64(32)))
    at = first_day + _times(key, days)
    order = np.argsort(at, kind="stable")
    key, at = key[order], at[order]
    who = one_of(key, 21, world.activity)
    task = one_of(key, 22, MIX)
    old = uniform(key, 23)
    rollout = np.clip((at - first_day) / max(days, 1), 0, 1)
    live = np.flatnonzero(world.launched < first_day)
    return Traffic(
        key=key,
        at=at,
        who=who,
        member=np.where(uniform(key, 24) < 0.05, -1, who),
        task=task,
        device=np.where(uniform(key, 25) < 0.75, world.device[who], one_of(key, 26, [1.0] * len(DEVICES))),
        country=world.country[who],
        profile=world.profile[who],
        version=(old > 0.18).astype(np.int64) + (old > 0.72 - 0.12 * rollout),
        layout=_layout(who),
        query_genre=one_of(key, 27, [1.0] * world.taste.shape[1]),
        seed_item=live[(uniform(key, 28) * len(live)).astype(np.int64)],
        since_last=np.round(2.5 * exponential(key, 29), 2),
        keep=KEEP[task],
    )


def kept(traffic: Traffic) -> NDArray[np.bool_]:
    """Which requests the log keeps: those whose hashed id falls below their keep probability."""
    return hashed(traffic.request_id) < traffic.keep


def hashed(ids: NDArray[np.object_]) -> NDArray[np.float64]:
    """Each id as a number in [0, 1), by blake2b with a salt."""
    digest = b"".join(hashlib.blake2b(str(i).encode(), digest_size=8, key=SALT).digest() for i in ids)
    return (np.frombuffer(digest, dtype=">u8") >> 11).astype(np.float64) / 2.0**53


def _layout(who: NDArray[np.int64]) -> NDArray[np.int64]:
    return (who * 2654435761 % 97 < 48).astype(np.int64)


def _times(key: Keys, days: int) -> NDArray[np.float64]:
    """Times in days with a daily and a weekly rhythm: evenings and weekends are busy."""
    hours = np.arange(days * 24)
    daily = 1.0 + 0.75 * np.sin((hours % 24 - 14) / 24 * 2 * np.pi) + 0.25 * np.sin((hours % 24 - 9) / 12 * 2 * np.pi)
    weekly = np.where((hours // 24) % 7 >= 5, 1.25, 1.0)
    return (one_of(key, 30, daily * weekly) + uniform(key, 31)) / 24.0
