"""What is asked of a table, and the query that answers it. Those held out share no wording with the others."""

from __future__ import annotations

TRAINING = {
    "SELECT {label} FROM {table};": (
        "List the {label} of all {plural}.",
        "Show the {label} of every row.",
        "Give me each {label}.",
    ),
    "SELECT COUNT(*) FROM {table};": (
        "How many {plural} are there?",
        "Count all {plural}.",
        "What is the number of {plural}?",
    ),
    "SELECT COUNT(*) FROM {table} WHERE {category} = '{value}';": (
        "How many {plural} have the {category} {value}?",
        "Count the {plural} whose {category} is {value}.",
        "What is the number of {plural} with {category} {value}?",
    ),
    "SELECT {label} FROM {table} WHERE {category} = '{value}';": (
        "List the {label} of {plural} whose {category} is {value}.",
        "Which {plural} have the {category} {value}? Show the {label}.",
        "Show the {label} of all {plural} with {category} {value}.",
    ),
    "SELECT {label} FROM {table} WHERE {number} > {limit};": (
        "List the {label} of {plural} with a {number} above {limit}.",
        "Which {plural} have more than {limit} {number}? Show the {label}.",
        "Show the {label} where {number} is greater than {limit}.",
    ),
    "SELECT {label} FROM {table} WHERE {number} < {limit};": (
        "List the {label} of {plural} with a {number} below {limit}.",
        "Which {plural} have less than {limit} {number}? Show the {label}.",
        "Show the {label} where {number} is smaller than {limit}.",
    ),
    "SELECT AVG({number}) FROM {table};": (
        "What is the average {number} of all {plural}?",
        "Compute the mean {number}.",
        "Show the average {number}.",
    ),
    "SELECT SUM({number}) FROM {table};": (
        "What is the sum of {number} over all {plural}?",
        "Add up the {number} of all {plural}.",
        "Show the total {number}.",
    ),
    "SELECT MAX({number}) FROM {table};": (
        "What is the highest {number} of all {plural}?",
        "Find the maximum {number}.",
        "Show the largest {number}.",
    ),
    "SELECT MIN({number}) FROM {table};": (
        "What is the lowest {number} of all {plural}?",
        "Find the minimum {number}.",
        "Show the smallest {number}.",
    ),
    "SELECT AVG({number}) FROM {table} WHERE {category} = '{value}';": (
        "What is the average {number} of {plural} whose {category} is {value}?",
        "Compute the mean {number} for {category} {value}.",
        "Show the average {number} of {plural} with {category} {value}.",
    ),
    "SELECT {label} FROM {table} ORDER BY {number} DESC LIMIT {few};": (
        "List the {label} of the {few} {plural} with the highest {number}.",
        "Show the {label} of the top {few} {plural} by {number}.",
        "Which {few} {plural} have the largest {number}? Show the {label}.",
    ),
    "SELECT {label} FROM {table} ORDER BY {number} ASC LIMIT {few};": (
        "List the {label} of the {few} {plural} with the lowest {number}.",
        "Show the {label} of the bottom {few} {plural} by {number}.",
        "Which {few} {plural} have the smallest {number}? Show the {label}.",
    ),
    "SELECT {category}, COUNT(*) FROM {table} GROUP BY {category};": (
        "How many {plural} are there for each {category}?",
        "Count the {plural} by {category}.",
        "Show every {category} with its number of {plural}.",
    ),
    "SELECT {category}, AVG({number}) FROM {table} GROUP BY {category};": (
        "What is the average {number} for each {category}?",
        "Compute the mean {number} by {category}.",
        "Show every {category} with its average {number}.",
    ),
    "SELECT DISTINCT {category} FROM {table};": (
        "Which different {category} values are there?",
        "List each {category} once.",
        "Show all distinct values of {category}.",
    ),
    "SELECT {label} FROM {table} WHERE {category} = '{value}' AND {number} > {limit};": (
        "List the {label} of {plural} whose {category} is {value} and whose {number} is above {limit}.",
        "Which {plural} with {category} {value} have more than {limit} {number}? Show the {label}.",
        "Show the {label} where {category} is {value} and {number} is greater than {limit}.",
    ),
}

HELD_OUT = {
    "SELECT {label} FROM {table};": (
        "I want to see the {label} of the {plural}, all of them.",
        "For the complete table, print the {label}.",
    ),
    "SELECT COUNT(*) FROM {table};": (
        "Tell me how many {plural} we have in total.",
        "The table contains how many {plural}?",
    ),
    "SELECT COUNT(*) FROM {table} WHERE {category} = '{value}';": (
        "If only the {category} {value} matters, how many {plural} do we have?",
        "Of the {plural}, how many belong to the {category} {value}?",
    ),
    "SELECT {label} FROM {table} WHERE {category} = '{value}';": (
        "I need the {label} for each of the {plural} that belong to the {category} {value}.",
        "Print the {label} of the {value} {plural} ({category}).",
    ),
    "SELECT {label} FROM {table} WHERE {number} > {limit};": (
        "Print the {label} for {plural} whose {number} exceeds {limit}.",
        "For which {plural} is the {number} over {limit}? I need the {label}.",
    ),
    "SELECT {label} FROM {table} WHERE {number} < {limit};": (
        "Print the {label} for {plural} whose {number} stays under {limit}.",
        "For which {plural} is the {number} lower than {limit}? I need the {label}.",
    ),
    "SELECT AVG({number}) FROM {table};": (
        "On average, how much {number} do the {plural} have?",
        "Tell me the mean of {number} across the {plural}.",
    ),
    "SELECT SUM({number}) FROM {table};": (
        "How much {number} do the {plural} have taken together?",
        "Tell me the sum over the column {number}.",
    ),
    "SELECT MAX({number}) FROM {table};": (
        "How high does the {number} of the {plural} get at most?",
        "Tell me the greatest {number} in the table.",
    ),
    "SELECT MIN({number}) FROM {table};": (
        "How low does the {number} of the {plural} get at the least?",
        "Tell me the minimal {number} in the table.",
    ),
    "SELECT AVG({number}) FROM {table} WHERE {category} = '{value}';": (
        "On average, how much {number} do the {plural} of the {category} {value} have?",
        "Looking at the {category} {value} only, tell me the mean {number}.",
    ),
    "SELECT {label} FROM {table} ORDER BY {number} DESC LIMIT {few};": (
        "I need the {label} of the {few} {plural} that lead in {number}.",
        "Sort the {plural} by {number}, highest first, and print the {label} of the first {few}.",
    ),
    "SELECT {label} FROM {table} ORDER BY {number} ASC LIMIT {few};": (
        "I need the {label} of the {few} {plural} that come last in {number}.",
        "Sort the {plural} by {number}, lowest first, and print the {label} of the first {few}.",
    ),
    "SELECT {category}, COUNT(*) FROM {table} GROUP BY {category};": (
        "Per {category}, print how many {plural} belong to it.",
        "Group the {plural} by {category} and tell me the size of each group.",
    ),
    "SELECT {category}, AVG({number}) FROM {table} GROUP BY {category};": (
        "Per {category}, print the mean {number}.",
        "Group the {plural} by {category} and tell me the average {number} of each group.",
    ),
    "SELECT DISTINCT {category} FROM {table};": (
        "Print every {category} that occurs, without repeating any.",
        "Tell me the {category} values in use, no duplicates.",
    ),
    "SELECT {label} FROM {table} WHERE {category} = '{value}' AND {number} > {limit};": (
        "Among the {plural} of the {category} {value}, print the {label} where the {number} exceeds {limit}.",
        "I need the {label} of {plural} that have the {category} {value} and over {limit} {number}.",
    ),
}
