"""The pages a person looks at: they read, never decide."""
