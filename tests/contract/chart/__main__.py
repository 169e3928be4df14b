"""`python -m tests.contract.chart`: writes the golden renderings and the table of values anew."""

from tests.contract.chart import helm, reference

for name in helm.SETS:
    helm.golden(name).write_text(helm.text(name))
reference.PAGE.write_text(reference.renewed(reference.PAGE.read_text()))
