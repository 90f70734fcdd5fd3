"""Made-up tables to ask about. Those held out share no table, column or value with the others."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """``table(id, label, category, number, other)``; ``plural`` is what its rows are called."""

    name: str
    plural: str
    label: str
    category: str
    values: tuple[str, ...]
    number: str
    other: str


def _table(line: str) -> Table:
    name, plural, label, category, values, number, other = (part.strip() for part in line.split("|"))
    return Table(name, plural, label, category, tuple(values.split(",")), number, other)


TRAINING = tuple(
    map(
        _table,
        """
        employees | employees | name | department | Sales,Finance,Marketing,Support | salary | age
        books | books | title | genre | Fantasy,History,Poetry,Science | pages | price
        orders | orders | customer | status | open,paid,shipped,cancelled | amount | items
        students | students | student_name | class | 1A,1B,2A,2B | grade | absences
        products | products | product_name | brand | Acme,Globex,Initech,Umbrella | cost | stock
        cars | cars | model | color | red,blue,black,white | horsepower | mileage
        movies | movies | movie_title | director | Nolan,Lee,Campion,Kurosawa | rating | minutes
        hotels | hotels | hotel_name | city | Paris,Rome,Berlin,Madrid | stars | rooms
        patients | patients | patient | ward | North,South,East,West | weight | temperature
        flights | flights | flight_code | airline | Delta,Emirates,Qantas,Iberia | distance | passengers
        songs | songs | song | artist | Abba,Queen,Prince,Adele | seconds | plays
        players | players | player | team | Lions,Bears,Hawks,Wolves | goals | matches
        countries | countries | country | continent | Africa,Asia,Europe,Oceania | population | area
        courses | courses | course | teacher | Smith,Jones,Garcia,Chen | credits | hours
        houses | houses | address | district | Center,Harbor,Hillside,Riverside | rent | bedrooms
        animals | animals | animal | species | dog,cat,rabbit,parrot | height | legs
        recipes | recipes | recipe | cuisine | Thai,French,Mexican,Indian | calories | servings
        invoices | invoices | invoice_number | client | Hooli,Stark,Wayne,Wonka | total | days_late
        tickets | tickets | subject | priority | low,medium,high,urgent | votes | replies
        machines | machines | machine | factory | Lyon,Essen,Turin,Leeds | power | downtime
        phones | phones | phone | maker | Nokia,Samsung,Sony,Apple | battery | memory
        articles | articles | headline | section | news,sports,culture,travel | words | views
        accounts | accounts | owner | bank | ING,Chase,Barclays,Santander | balance | fees
        events | events | event | venue | Arena,Theater,Stadium,Club | guests | budget
        """.strip().splitlines(),
    )
)

HELD_OUT = tuple(
    map(
        _table,
        """
        ships | ships | vessel | flag | Norway,Greece,Panama,Malta | tonnage | crew
        paintings | paintings | artwork | painter | Monet,Klimt,Goya,Vermeer | width | insured_value
        wines | wines | label | grape | Merlot,Riesling,Syrah,Malbec | vintage | bottles
        trees | trees | tree_tag | kind | oak,maple,birch,cedar | trunk_girth | growth_rate
        museums | museums | museum | town | Bergen,Ghent,Porto,Graz | visitors | exhibits
        rockets | rockets | mission | agency | ESA,NASA,JAXA,ISRO | thrust | payload
        bridges | bridges | bridge | material | steel,stone,wood,concrete | span | lanes
        parcels | parcels | tracking_code | carrier | DHL,UPS,FedEx,Hermes | grams | postage
        lakes | lakes | lake | region | Bavaria,Tyrol,Lapland,Savoy | depth | shoreline
        satellites | satellites | satellite | orbit | polar,lunar,solar,equatorial | altitude | sensors
        """.strip().splitlines(),
    )
)
