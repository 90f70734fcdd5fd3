"""Questions of general knowledge with one short answer, written by hand: what a specialist may have forgotten."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Question | what a right reply names; any of them will do.
_LINES = """
What is the capital of France? | Paris
What is the capital of Japan? | Tokyo
What is the capital of Italy? | Rome
What is the capital of Egypt? | Cairo
What is the capital of Germany? | Berlin
What is the capital of Spain? | Madrid
What is the capital of Russia? | Moscow
What is the capital of Canada? | Ottawa
In which country is the Great Barrier Reef? | Australia
On which continent is Kenya? | Africa
On which continent is Brazil? | South America
Which ocean lies between Europe and North America? | Atlantic
What is the longest river in Africa? | Nile
What is the highest mountain in the world? | Everest
Which planet is known as the Red Planet? | Mars
What is the largest planet in our solar system? | Jupiter
Which planet is closest to the sun? | Mercury
What does the Earth orbit around? | Sun
What gas do plants take in from the air for photosynthesis? | carbon dioxide, CO2
What gas do humans need to breathe? | oxygen
What is the chemical formula of water? | H2O
What is the chemical symbol for gold? | Au
Which organ pumps blood through the body? | heart
Which force pulls objects toward the Earth? | gravity, gravitational
What do bees make? | honey
What is the largest mammal in the world? | blue whale, whale
What is the tallest animal in the world? | giraffe
Which animal is known as the king of the jungle? | lion
What is a baby dog called? | puppy, pup
What is a baby cat called? | kitten
What do you call frozen water? | ice
What color is the sky on a clear day? | blue
What color do you get when you mix blue and yellow? | green
What color is a ripe banana? | yellow
What is the opposite of hot? | cold
What is the opposite of day? | night
Who wrote Romeo and Juliet? | Shakespeare
Who painted the Mona Lisa? | Leonardo, da Vinci
Who developed the theory of general relativity? | Einstein
Who was the first president of the United States? | Washington
Who was the first person to walk on the moon? | Armstrong
Which scientist is said to have seen an apple fall? | Newton
Which language is spoken in Brazil? | Portuguese
Which language do most people in Mexico speak? | Spanish
What is the currency of Japan? | yen
What is the currency of the United Kingdom? | pound, sterling
Which season comes after winter? | spring
Which month comes after March? | April
Which day comes after Monday? | Tuesday
Which sense do we use our eyes for? | sight, vision, see, seeing
Which metal is liquid at room temperature? | mercury
What is the main language of England? | English
Which instrument has black and white keys? | piano
In which sport do players hit a shuttlecock? | badminton
Which bird is a symbol of peace? | dove
Which vehicle runs on rails? | train, tram
What do cows give us to drink? | milk
What is the hardest natural material? | diamond
Which star gives the Earth light and heat? | sun
Which ancient people built the pyramids of Giza? | Egyptians, Egyptian, Egypt
"""


@dataclass(frozen=True)
class Knowledge:
    """A question that most grown-ups can answer."""

    request: str
    answers: tuple[str, ...]

    @property
    def answer(self) -> str:
        """The first of what is accepted."""
        return self.answers[0]

    def right(self, reply: str) -> bool:
        """One of the answers stands in the reply, as whole words."""
        return any(re.search(rf"\b{re.escape(answer)}\b", reply, re.IGNORECASE) for answer in self.answers)


def questions() -> list[Knowledge]:
    """All of them."""
    found = []
    for line in _LINES.strip().splitlines():
        question, answers = line.split("|")
        found.append(Knowledge(question.strip(), tuple(answer.strip() for answer in answers.split(","))))
    return found
