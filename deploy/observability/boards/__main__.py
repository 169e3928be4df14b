"""Writes the JSON files of the dashboards: `python -m deploy.observability.boards`."""

from deploy.observability.boards import BOARDS, DIRECTORY

if __name__ == "__main__":
    for board in BOARDS:
        (DIRECTORY / f"{board.name}.json").write_text(board.text())
