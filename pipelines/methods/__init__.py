"""Which methods exist, what they say of themselves, and which runs they can do."""
