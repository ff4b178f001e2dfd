"""What is asked of the books: how payments are spread 集中度, what lies at which bank 资金沉淀, what stays local."""

from reconciliation.reports.figures import Concentration, Floating, Part, brought, concentration, floating, local
from reconciliation.reports.reading import Range, Reports

__all__ = [
    "Concentration",
    "Floating",
    "Part",
    "Range",
    "Reports",
    "brought",
    "concentration",
    "floating",
    "local",
]
