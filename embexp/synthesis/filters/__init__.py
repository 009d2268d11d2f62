"""The funnel that written pairs pass through: one small filter a file, each optional, each counted."""
