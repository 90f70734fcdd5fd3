"""The tasks of bench/: answers are right, wrong ones are told, and nothing held out is learned from."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from bench.tasks import conversation, held_out, questions, stories, tables, training
from bench.tasks.__main__ import write
from bench.tasks.arithmetic import WordProblem
from bench.tasks.sql import Question, query_in
from bench.tasks.task import KINDS

SHIPS = tables.HELD_OUT[0]


@pytest.mark.parametrize("kind", KINDS)
def test_its_own_answers_are_right(kind: str) -> None:
    for tasks in (training(kind, 400, 1), held_out(kind, 400, 1)):
        assert all(task.right(task.answer) for task in tasks)
        assert not any(task.right("") or task.right("I do not know.") for task in tasks)
        assert len({task.request for task in tasks}) == 400
        assert max(len(task.request) for task in tasks) < 400


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_to_another_task_is_wrong(kind: str) -> None:
    tasks = held_out(kind, 300, 2)
    right = sum(task.right(other.answer) for task, other in pairwise(tasks))
    assert right <= 0.04 * len(tasks), "few small numbers meet by chance"


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides(kind: str) -> None:
    assert training(kind, 20, 3) == training(kind, 20, 3)
    assert not set(map(str, training(kind, 20, 3))) & set(map(str, training(kind, 20, 4)))


def test_stories_share_no_template_person_or_thing() -> None:
    learned, asked = stories.TRAINING, stories.HELD_OUT
    assert not set(learned.names) & set(asked.names)
    assert not set(learned.things) & set(asked.things)
    assert learned.templates.keys() == asked.templates.keys()
    frames = [{_frame(text) for texts in each.templates.values() for text in texts} for each in (learned, asked)]
    assert not frames[0] & frames[1]


def test_questions_share_no_wording_table_column_or_value() -> None:
    assert questions.TRAINING.keys() == questions.HELD_OUT.keys()
    wordings = [
        {_frame(text) for texts in each.values() for text in texts} for each in (questions.TRAINING, questions.HELD_OUT)
    ]
    assert not wordings[0] & wordings[1]
    names = [{word for table in each for word in _names(table)} for each in (tables.TRAINING, tables.HELD_OUT)]
    assert not names[0] & names[1]


def _frame(text: str) -> str:
    """A template without what is put into it."""
    return " ".join(re.sub(r"\{\w+\}", " ", text).casefold().split())


def _names(table: tables.Table) -> list[str]:
    return [table.name, table.plural, table.label, table.category, *table.values, table.number, table.other]


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("42", True),
        ("The answer is 42.", True),
        ("6 * 7 = 42. Answer: 42", True),
        ("42.0", True),
        ("1,042", False),
        ("40 + 2 is 42, not 43", False),
        ("-42", False),
        ("forty-two", False),
    ],
)
def test_the_last_number_counts(reply: str, right: bool) -> None:
    assert WordProblem("?", "42", 42).right(reply) is right


def test_numbers_with_separators_are_read() -> None:
    assert WordProblem("?", "1042", 1042).right("That makes 1,042.")


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("SELECT vessel FROM ships WHERE crew > 300", True),
        ("select vessel from ships where not crew <= 300;", True),
        ("Here it is:\n```sql\nSELECT vessel FROM ships WHERE crew > 300;\n```\nIt selects ships.", True),
        ("WITH many AS (SELECT * FROM ships WHERE crew > 300) SELECT vessel FROM many ORDER BY crew;", True),
        ("SELECT vessel, crew FROM ships WHERE crew > 300", False),
        ("SELECT vessel FROM ships WHERE crew > 301 OR crew < 0 LIMIT 1", False),
        ("SELECT vessel FROM boats WHERE crew > 300", False),
        ("DROP TABLE ships; SELECT vessel FROM ships WHERE crew > 300", True),  # only the query is run
        ("SELECT load_extension('x')", False),
        ("ATTACH 'x' AS y", False),
        ("WITH RECURSIVE n AS (SELECT 1 UNION ALL SELECT 1 FROM n) SELECT COUNT(*) FROM n", False),
        ("I would count them.", False),
    ],
)
def test_what_a_query_returns_counts(reply: str, right: bool) -> None:
    assert Question("?", "SELECT vessel FROM ships WHERE crew > 300;", SHIPS, 1).right(reply) is right


def test_order_counts_where_it_was_asked_for() -> None:
    ordered = Question("?", "SELECT vessel FROM ships ORDER BY crew DESC LIMIT 3;", SHIPS, 1)
    assert ordered.right("SELECT vessel FROM ships ORDER BY -crew LIMIT 3")
    assert not ordered.right("SELECT vessel FROM (SELECT * FROM ships ORDER BY crew DESC LIMIT 3) ORDER BY crew")


def test_the_first_query_of_a_reply() -> None:
    assert query_in("SELECT 1; SELECT 2") == "SELECT 1"
    assert query_in("```\nSELECT 3\n```") == "SELECT 3"
    assert query_in("nothing") is None


def test_what_is_written_is_what_training_reads(tmp_path: Path) -> None:
    from synapse_engine.train.specialist.conversations import read_conversations

    files = write(tmp_path, 12, 5)
    for kind, file in zip(KINDS, files, strict=True):
        assert [json.loads(line) for line in file.read_text().splitlines()] == [
            conversation(task) for task in training(kind, 12, 5)
        ]
        assert len(read_conversations(file)) == 12
