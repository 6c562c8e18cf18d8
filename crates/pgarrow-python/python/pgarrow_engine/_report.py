"""What came of an export, a load or a job."""

from __future__ import annotations

import json
from typing import Any


class Report(dict[str, Any]):
    """The fields of the command's `--report`, as a dict whose keys are attributes, too.

    `report.rows`, `report["warnings"]`, `report.files[0]["path"]`. The book's page "Report fields" lists
    them.
    """

    @classmethod
    def of_json(cls, text: str) -> Report:
        """Reads one."""
        return cls(json.loads(text))

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the report has no field {name!r}; it has {', '.join(self)}") from None

    def __repr__(self) -> str:
        shown = [name for name in ("subject", "target", "rows", "seconds") if name in self]
        return f"Report({', '.join(f'{name}={self[name]!r}' for name in shown)}, …)"
