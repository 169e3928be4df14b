"""Writes the committed renderings and the table of values again: `python -m tests.contract.chart`."""

from tests.contract.chart import helm, values_table

for name in helm.VALUE_SETS:
    helm.rendering_path(name).write_text(helm.render(name))
values_table.PAGE.write_text(values_table.replace_table(values_table.PAGE.read_text()))
