"""The stories that word problems are told in. Those held out share no template, person or thing with the others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Stories:
    """Templates by plan: what is computed, from left to right. Plans are shared, stories are not."""

    templates: dict[str, tuple[str, ...]]
    names: tuple[str, ...]
    things: tuple[str, ...]


TRAINING = Stories(
    {
        "a + b": (
            "{name} has {a} {things} and buys {b} more. How many {things} does {name} have now?",
            "There are {a} {things} on the table and {b} in the box. How many {things} are there in all?",
            "{name} found {a} {things} in the morning and {b} in the afternoon. How many did {name} find altogether?",
            "A shop sold {a} {things} on Monday and {b} on Tuesday. What is the total?",
            "{name} collected {a} {things}. {other} collected {b}. How many did the two collect together?",
        ),
        "a - b": (
            "{name} has {a} {things} and gives {b} of them to {other}. How many are left?",
            "There were {a} {things} in the basket. {name} took out {b}. How many remain?",
            "{name} has {a} {things}, {other} has {b}. How many more does {name} have?",
            "Of {a} {things}, {b} are broken. How many are whole?",
            "{name} needs {a} {things} and already has {b}. How many are missing?",
        ),
        "a * b": (
            "{name} has {a} bags with {b} {things} in each. How many {things} is that?",
            "Each box holds {b} {things}. How many {things} are in {a} boxes?",
            "{name} buys {a} {things} at {b} dollars each. How much does {name} pay?",
            "There are {a} rows of {b} {things}. How many {things} are there?",
            "{name} makes {b} {things} every day. How many does {name} make in {a} days?",
        ),
        "a / b": (
            "{name} shares {a} {things} equally among {b} friends. How many does each friend get?",
            "{a} {things} are packed into {b} equal boxes. How many {things} go into a box?",
            "{b} {things} cost {a} dollars. What does one of them cost?",
            "{name} puts {a} {things} into bags of {b}. How many bags does {name} fill?",
        ),
        "a + b - c": (
            "{name} had {a} {things}, got {b} from {other} and then lost {c}. How many does {name} have now?",
            "A bus had {a} passengers. At a stop {b} got on and {c} got off. How many passengers are on it now?",
            "A library had {a} books, bought {b} new ones and gave away {c}. How many books has it now?",
            "{name} earned {a} dollars on Friday and {b} on Saturday, then spent {c}. How much money is left?",
        ),
        "a - b - c": (
            "{name} had {a} {things}, gave {b} to {other} and ate {c}. How many are left?",
            "A tank holds {a} litres. First {b} litres run out, then {c} more. How many litres are in it now?",
            "{name} has {a} dollars and spends {b} on {things} and {c} on {more}. How many dollars are left?",
            "Of {a} {things}, {b} were sold in the morning and {c} in the evening. How many were not sold?",
        ),
        "a * b + c": (
            "{name} has {a} boxes with {b} {things} each and {c} single ones. How many {things} does {name} have?",
            "A ticket costs {b} dollars. {name} buys {a} tickets and a drink for {c} dollars. What is the total price?",
            "{name} picks {b} {things} a day for {a} days and then {c} more. How many {things} is that?",
            "There are {a} tables with {b} chairs each, and {c} chairs along the wall. How many chairs are there?",
        ),
        "a * b - c": (
            "{name} buys {a} packs of {b} {things} and gives {c} {things} away. How many does {name} keep?",
            "A farmer fills {a} crates with {b} {things} each, but {c} go bad. How many good {things} are there?",
            "{name} works {a} hours at {b} dollars an hour and pays {c} dollars for lunch. How much does {name} keep?",
            "There are {a} rows of {b} seats, and {c} seats are empty. How many seats are taken?",
        ),
        "a + b * c": (
            "{name} has {a} {things}, and {other} has {b}. Together they get {c} times as many. How many is that?",
            "There are {a} red and {b} blue {things} in each of {c} boxes. How many {things} are there in all?",
            "Every day {name} eats {a} {things} and {other} eats {b}. How many do they eat in {c} days?",
        ),
        "a - b / c": (
            "{name} has {a} {things}, keeps {b} and divides the others among {c} children. How many does each get?",
            "Of {a} {things}, {b} are spoiled. The rest goes into {c} equal bags. How many are in each bag?",
            "A ribbon of {a} cm loses {b} cm and is then cut into {c} equal pieces. How long is a piece?",
        ),
    },
    (
        "Anna", "Ben", "Carla", "David", "Emma", "Frank", "Grace", "Henry", "Ivy", "Jack", "Karen", "Leo", "Maria",
        "Noah", "Olivia", "Paul", "Rosa", "Sam", "Tina", "Victor",
    ),
    (
        "apples", "marbles", "pencils", "stickers", "cookies", "stamps", "books", "coins", "shells", "oranges",
        "balloons", "cards", "eggs", "flowers", "toys", "plates",
    ),
)  # fmt: skip

HELD_OUT = Stories(
    {
        "a + b": (
            "{name} baked {a} {things} yesterday, and today another {b} came out of the oven. What do they add up to?",
            "Two drawers are full of {things}: {a} lie in the upper one, {b} in the lower. Count them all.",
        ),
        "a - b": (
            "A flock of {a} birds sits on a roof until {b} fly off. How many stay behind?",
            "{name} planned to pack {a} {things}; {b} are in the suitcase so far. How many still have to go in?",
        ),
        "a * b": (
            "A train has {a} carriages, and {b} people ride in every one. How many people ride on the train?",
            "{name} knits {a} scarves. For one scarf it takes {b} balls of wool. How many balls does it take?",
        ),
        "a / b": (
            "A rope of {a} metres is cut into {b} parts of one length. How many metres long is each part?",
            "{b} players deal out {a} {things} until nobody gets more than another. What does every player hold?",
        ),
        "a + b - c": (
            "In a pond swim {a} fish. {b} are let in and {c} are caught. How large is the number of fish afterwards?",
            "{name} saved {a} euros, received {b} for a birthday and paid {c} for {things}. What is still there?",
        ),
        "a - b - c": (
            "A book has {a} pages. {name} read {b} of them last week and {c} this week. What is left to read?",
            "From {a} {things}, {other} borrows {b} and {name} borrows {c}. How many does nobody borrow?",
        ),
        "a * b + c": (
            "A hall has {a} lamps with {b} bulbs each, and {c} spare bulbs in the cellar. Find the number of bulbs.",
            "For {a} weeks {name} swims {b} laps a week, and in the last hour another {c}. How many laps were swum?",
        ),
        "a * b - c": (
            "{name} orders {a} trays of {b} {things}. On the way {c} fall down. How many arrive?",
            "{a} teams of {b} runners start, but {c} runners give up. How many reach the finish?",
        ),
        "a + b * c": (
            "A menu is {a} euros and a drink {b}. What do {c} guests pay who all take both?",
            "A gardener plants {a} tulips and {b} roses in every bed. How many plants do {c} beds have?",
        ),
        "a - b / c": (
            "{name} pays {b} of {a} euros at once and the remainder in {c} equal rates. How high is one rate?",
            "A cook takes {b} from {a} {things} and spreads what remains evenly over {c} plates. What lies on a plate?",
        ),
    },
    (
        "Yusuf", "Greta", "Dmitri", "Amara", "Kenji", "Lucia", "Oskar", "Priya", "Ragnar", "Selma", "Tomas", "Wanda",
    ),
    (
        "lemons", "buttons", "rolls", "candles", "dice", "mugs", "olives", "ribbons", "spoons", "walnuts",
    ),
)  # fmt: skip
