"""What a completion is worth. Edit `score`, train again, and look at what the policy does now."""


def score(text: str, answer: str) -> dict[str, float]:
    """Named parts, whose sum is the reward; a run logs each of them.

    text: what the model wrote, without the prompt. answer: the field `answer` of the row. A further parameter gets the
    field of its name: `def score(text, answer, prompt)`, for one. Return a number instead when there is one part only.
    """
    words = text.lower().split()
    said = words[0].strip(".,!?") if words else ""
    return {
        "answer": 1.0 if said == answer else 0.0,
        "brief": 0.2 if len(words) == 1 else 0.0,
        # "full_stop": 0.2 if text == f"{said}." else 0.0,
    }
