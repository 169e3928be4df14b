"""The description of each setting: the text below it in the source of its class.

Pydantic can read these texts too, but does so in every process: that took a tenth of the CPU time of a start.
"""

import ast
import inspect
from itertools import pairwise

from livebalance.runtime.config.settings import ServiceSettings


def describe_settings(settings_type: type[ServiceSettings]) -> dict[str, str]:
    """Returns the description of each field. A class that only changes a default inherits the description."""
    texts: dict[str, str] = {}
    for kind in reversed(settings_type.__mro__):
        if issubclass(kind, ServiceSettings):
            [definition] = ast.parse(inspect.getsource(kind)).body
            assert isinstance(definition, ast.ClassDef)
            for field, below in pairwise(definition.body):
                match field, below:
                    case ast.AnnAssign(ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                        texts[name] = inspect.cleandoc(text)
    return texts
