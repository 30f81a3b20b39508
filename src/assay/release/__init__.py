"""May it go live: what must hold, who approved, what was decided, and what is live since when."""
