"""Claims of papers, checked: one command each, several seeds, equal budgets, intervals.

    python -m benchmarks.papers.NAME --out build/papers/NAME

A run that is stopped goes on where it stopped; docs/techniques.md has the results, reproduced and not.
"""
