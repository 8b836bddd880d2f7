"""Words that the standard tasks and the evaluations share, so that the vocabulary stays small."""

PEOPLE = ("mia", "tom", "ana", "ben", "lea", "sam", "eva", "leo", "kim", "joe", "ida", "max")
THINGS = ("apple", "key", "lamp", "book", "cup", "coat", "drum", "boat", "stone", "box", "ring", "shoe")
COLOURS = ("red", "blue", "green", "white", "black", "brown")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
PLACES = ("bank", "school", "farm", "shop", "port", "museum", "library", "factory", "hotel", "station")
TOWNS = ("rome", "paris", "oslo", "cairo", "lima", "delhi")

OPPOSITES = {
    "hot": "cold",
    "big": "small",
    "old": "new",
    "dark": "light",
    "fast": "slow",
    "hard": "soft",
    "wet": "dry",
    "full": "empty",
    "loud": "quiet",
    "high": "low",
    "rich": "poor",
    "open": "closed",
}
"""Each word with its opposite, in one direction; `opposite_of` knows both."""

KINDS = {
    "animal": ("dog", "horse", "sheep", "duck", "frog", "bear"),
    "food": ("bread", "soup", "rice", "cheese", "cake", "apple"),
    "tool": ("hammer", "saw", "drill", "knife", "spade", "broom"),
    "cloth": ("coat", "shoe", "hat", "shirt", "sock", "glove"),
}
"""Kinds of things with their members."""

KIND_OF = {member: kind for kind, members in KINDS.items() for member in members}
OPPOSITE_OF = OPPOSITES | {right: left for left, right in OPPOSITES.items()}
