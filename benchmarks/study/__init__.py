"""The study: which training makes line models robust to deployment (PLAN.md)."""
