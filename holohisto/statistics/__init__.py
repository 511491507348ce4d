"""Cohort statistics: means of groups, paired tests with their limits, intervals."""
