//! PostgreSQL types, what they become in Arrow, and the policies between.
