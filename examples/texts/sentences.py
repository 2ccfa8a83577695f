"""Made-up sentences about three topics, which share some of their words."""

import random

TOPICS = {
    "astronomy": {
        "who": ["astronomer", "observatory", "telescope", "star", "comet", "planet", "galaxy"],
        "what": ["orbit", "eclipse", "crater", "spectrum", "moon", "nebula", "scale"],
        "does": ["observed", "charted", "passed", "measured", "followed"],
        "where": ["in the night sky", "beyond the sun", "from the dome", "near the horizon"],
    },
    "fishing": {
        "who": ["angler", "skipper", "trawler", "bass", "trout", "salmon", "pike"],
        "what": ["net", "hook", "line", "reel", "bait", "scale", "catch"],
        "does": ["hauled", "landed", "passed", "followed", "dropped"],
        "where": ["in the river", "from the boat", "near the pier", "under the bridge"],
    },
    "music": {
        "who": ["pianist", "orchestra", "choir", "star", "bass", "drummer", "violin"],
        "what": ["melody", "chord", "scale", "line", "rhythm", "tune", "catch"],
        "does": ["played", "practised", "followed", "measured", "dropped"],
        "where": ["on the stage", "in the hall", "from the record", "under the bridge"],
    },
}
"""`star`, `bass`, `scale`, `line`, `catch` and some more are words of two topics or three."""

_HOW = ["slowly", "again", "quietly", "at last", "twice", "with care"]


def sentences(n: int, seed: int) -> list[tuple[str, str]]:
    """`n` different sentences and their topics."""
    draw = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < n:
        topic = draw.choice(sorted(TOPICS))
        who, what, does, where = (
            draw.choice(TOPICS[topic][part]) for part in ("who", "what", "does", "where")
        )
        # Not every sentence says where, so some can hardly be told apart: those are worth a label.
        ending = draw.choice([where, draw.choice(_HOW), f"{draw.choice(_HOW)} {where}"])
        found.setdefault(f"the {who} {does} the {what} {ending}", topic)
    return list(found.items())
