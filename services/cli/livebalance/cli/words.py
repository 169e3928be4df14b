"""`--transfer ID ACCOUNT AMOUNT`, repeated: typer knows options of three words, and repeated ones."""

_OPTION, _WORDS = "--transfer", 3


def joined(words: list[str]) -> list[str]:
    """The three words as one, with commas between them: a line of CSV. Fewer are left as they are."""
    found, rest = list[str](), words
    while rest:
        word, rest = rest[0], rest[1:]
        if word == _OPTION and len(rest) >= _WORDS:
            word, rest = f"{_OPTION}={','.join(rest[:_WORDS])}", rest[_WORDS:]
        found.append(word)
    return found
