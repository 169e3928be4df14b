"""Options that several commands have."""

from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON object.")]
Reason = Annotated[str, typer.Option(help="Your reason; it is stored in the database.")]
Operations = Annotated[
    list[str] | None,
    typer.Option(
        metavar="URL",
        help="Address of a gateway's operations port, such as http://10.0.0.7:8081. Can be repeated.",
    ),
]
