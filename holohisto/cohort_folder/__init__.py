"""Sample sheets from folders: any folder of slides, or one of a public dataset's layout."""

from holohisto.cohort_folder import folder, kpis, neptune
from holohisto.cohort_folder.found import Found, assign_splits, require, table

__all__ = ["Found", "assign_splits", "folder", "kpis", "neptune", "require", "table"]
