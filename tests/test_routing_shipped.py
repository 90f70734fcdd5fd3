"""The router that comes with the package: it loads, decides, and follows simulated users as `bench.feedback` does."""

import json
import random

import numpy as np
import pytest
from bench.feedback import CHECKPOINTS, live, open_world, users_of_labels, users_of_topics
from bench.routing import HELD_OUT

from synapse_engine.routing import open_router
from synapse_engine.routing.opening import FOLDER
from synapse_engine.train.routing.requests import read_requests
from test_cli import run

pytest_plugins = ["store_fixtures"]


@pytest.fixture(scope="module")
def world():
    return open_world(FOLDER, list(read_requests(HELD_OUT)))


def test_a_correction_lasts_until_it_is_reset(home):
    request = "SELECT all orders older than a year from the table orders, in SQL"
    assert open_router().route(request).specialist == "sql"
    for _ in range(3):
        found = json.loads(run("feedback", "general", request, "--json").stdout)
    assert found["after"]["specialist"] == "general"
    router = open_router()
    assert router.route(request).reason == "chosen by feedback"
    assert router.route("SQL: all customers that never ordered anything").bias["general"] > 1
    for other in ("Is this sentence correct: He go home.", "What is 12 * 37?", "Write a poem about a table."):
        assert abs(router.route(other).bias["general"]) < 0.5
    assert run("feedback", "reset", "-y").exit_code == 0
    told = json.loads(run("route", request, "--json", "--explain").stdout)
    assert (told["specialist"], told["regions"]) == ("sql", [])


def test_users_are_followed_within_twenty_feedbacks_and_others_keep_their_answers(world):
    draws = random.Random(1)
    users = [user for _ in range(4) for user in users_of_labels(world, draws, corrects=True)]
    lives = [live(world, user, seed) for seed, user in enumerate(users)]
    followed, spoiled = np.array([(life[-1].followed, life[-1].spoiled) for life in lives]).T
    assert lives[0][-1].feedbacks == CHECKPOINTS[-1] == 20
    assert followed.mean() > 0.8
    assert spoiled.mean() < 0.03
    lives = [live(world, user, seed) for seed, user in enumerate(users_of_topics(world, draws, 28))]
    followed, spoiled = np.array([(life[-1].followed, life[-1].spoiled) for life in lives]).T
    assert followed.mean() > 0.8
    assert spoiled.mean() < 0.09
